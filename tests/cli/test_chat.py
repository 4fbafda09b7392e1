"""`sa2va chat` and `sa2va ask`, on a real terminal and in scripts, with the golden checkpoint."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sa2va_cli.cli.app import app
from sa2va_cli.cli.exit_codes import exit_code
from sa2va_cli.errors import MediaError, UsageError
from sa2va_cli.masks import decode_rle
from tests.cli.terminal import CTRL_C, CTRL_D, KILL_LINE, UP, Terminal

CASES = Path(__file__).parents[1] / "data" / "golden" / "internvl-qwen2" / "cases"
SINGLE = CASES / "image_single" / "image.png"
MULTI_TURN = CASES / "image_multi_turn"
SEGMENT = "Please segment the red circle."
FIRST_TURN = {
    "question": "<image>What is in the picture?",
    "answer": "A cat and a dog.<|im_end|>",
}


@pytest.fixture
def sa2va(golden_checkpoint, tmp_path, monkeypatch):
    """The command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(command, *arguments, typed=None):
        words = [str(word) for word in arguments]
        model = ["-m", str(golden_checkpoint), "-d", "cpu"]
        return CliRunner().invoke(app, [command, *words, *model], input=typed)

    return run


def golden_masks(case):
    expected = np.load(CASES / case / "expected.npz")
    shape = expected["masks_0_shape"]
    return np.unpackbits(expected["masks_0"])[: np.prod(shape)].reshape(shape).astype(bool)


def write_region(path, height=300, width=320):
    pixels = np.zeros((height, width), np.uint8)
    pixels[:, : width // 2] = 255
    Image.fromarray(pixels).save(path)
    return path


def nearly_equal(mask, expected):
    return (mask != expected).sum() <= expected.size / 5000


def test_a_conversation_on_a_terminal(golden_checkpoint, tmp_path):
    (tmp_path / "talk.json").write_text(json.dumps({"path": "x", "turns": [FIRST_TURN]}))
    write_region(tmp_path / "left half.png", 350, 350)
    command = [sys.executable, "-m", "tests.cli.slow_chat", "chat", MULTI_TURN / "image.png"]
    options = ["-m", golden_checkpoint, "-d", "cpu", "--resume", "talk.json", "-o", "out"]
    here = {"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app", "XDG_STATE_HOME": str(tmp_path)}
    root = str(Path(__file__).parents[2])
    environment = {k: v for k, v in os.environ.items() if k not in ("TMUX", "KITTY_WINDOW_ID")}
    with Terminal(
        [*command, *options], cwd=tmp_path, env=environment | here | {"PYTHONPATH": root}
    ) as terminal:
        terminal.expect("> ")
        the_second_turn_equals_the_reference_s(terminal, tmp_path)
        ctrl_c_ends_the_answer_and_not_the_session(terminal, tmp_path)
        what_is_wrong_is_told_and_the_talk_goes_on(terminal)
        what_was_said_is_saved(terminal, tmp_path)
        a_region_begins_a_new_conversation(terminal)
        terminal.type(CTRL_D)
        assert terminal.wait() == 0
    assert "Please segment the cat." in (tmp_path / "sa2va" / "chat_history").read_text()


def the_second_turn_equals_the_reference_s(terminal, tmp_path):
    terminal.type("Please segment the cat.\n")
    terminal.expect("It is [1].")
    terminal.expect("\x1b]1337;File=inline=1")  # iTerm2 shows it
    terminal.expect("overlay: out/overlays/answer-001.overlay.png")
    terminal.expect("> ")
    (mask,) = (tmp_path / "out" / "masks" / "answer-001").glob("obj_001_*.png")
    assert nearly_equal(np.asarray(Image.open(mask)) > 0, golden_masks("image_multi_turn")[0])
    assert (tmp_path / "out" / "overlays" / "answer-001.overlay.png").exists()


def ctrl_c_ends_the_answer_and_not_the_session(terminal, tmp_path):
    (tmp_path / "slow").touch()
    terminal.type("What color is the sky?\n")
    terminal.expect("sky?\r\n")  # its own echo
    terminal.expect("Sure")  # the answer has begun
    terminal.type(CTRL_C)
    part = terminal.expect("Stopped: not asked.")
    assert "[1]" not in part
    (tmp_path / "slow").unlink()
    terminal.expect("> ")
    terminal.interrupt("Ctrl-D or /quit ends the session.")
    terminal.expect("> ")


def what_is_wrong_is_told_and_the_talk_goes_on(terminal):
    terminal.type("/nope\n")
    terminal.expect("Error: There is no /nope.")
    terminal.expect("> ")
    terminal.type("/region nothing.png\n")
    terminal.expect("Error:")
    terminal.expect("> ")
    terminal.type(UP)
    terminal.expect("/region nothing.png")
    terminal.type(KILL_LINE)


def what_was_said_is_saved(terminal, tmp_path):
    terminal.type("/save more.json\n")
    terminal.expect("(2 questions)")  # what was stopped is not among them
    terminal.expect("> ")
    turns = json.loads((tmp_path / "more.json").read_text())["turns"]
    assert [turn["question"] for turn in turns] == [
        FIRST_TURN["question"],
        "Please segment the cat.",
    ]
    assert turns[1]["answer"] == "It is [SEG].<|im_end|>"
    assert (tmp_path / turns[1]["masks"]).is_dir() and (tmp_path / turns[1]["overlay"]).is_file()


def a_region_begins_a_new_conversation(terminal):
    terminal.type("/region left half.png\n")
    terminal.expect("The conversation begins anew.")
    terminal.expect("Call it region1.")
    terminal.expect("> ")
    terminal.type("What is region1?\n")
    terminal.expect("region1?\r\n")
    terminal.expect("> ")
    assert "Error" not in terminal.output.rpartition("region1?\r\n")[2]


def test_one_question_as_json(sa2va):
    done = sa2va("ask", SINGLE, f"<image>{SEGMENT}", "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["item_id"] == "image.png"
    assert data["answers"][0]["raw_text"] == "Sure, [SEG].<|im_end|>"
    assert data["answers"][0]["question"] == f"<image>{SEGMENT}"
    (found,) = data["objects"]
    assert nearly_equal(decode_rle(found["masks"][0]["rle"]), golden_masks("image_single")[0])


def test_one_question_in_words_and_files_that_replace_nothing(sa2va, tmp_path):
    for _ in range(2):
        done = sa2va("ask", SINGLE, SEGMENT, "-o", tmp_path / "out")
        assert (done.exit_code, done.stdout) == (0, "Sure.\n")
    assert "1 mask: " in sa2va("ask", SINGLE, SEGMENT).stderr
    overlays = sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir())
    assert overlays == ["answer-001.overlay.png", "answer-002.overlay.png"]
    done = sa2va("ask", SINGLE, "What color is the sky?")
    assert done.stdout == "The sky is blue.\n"


def test_a_question_about_a_region(sa2va, tmp_path):
    left = write_region(tmp_path / "left.png")
    done = sa2va("ask", SINGLE, "What is region1?", "--region", left)
    assert done.exit_code == 0 and done.stdout.strip()
    other = sa2va(
        "ask", SINGLE, "?", "--region", left, "--region", write_region(tmp_path / "b.png", 8)
    )
    assert "different sizes" in str(other.exception)
    turned = sa2va("ask", SINGLE, "?", "--region", write_region(tmp_path / "c.png", 320, 640))
    assert "region 255 has 640 x 320 pixels, its picture" in str(turned.exception)


def test_a_chat_about_a_clip_from_a_pipe(sa2va, tmp_path):
    (tmp_path / "clip").mkdir()
    for step in range(6):
        Image.effect_noise((48, 48), 60 + step).save(tmp_path / "clip" / f"{step}.png")
    lines = [SEGMENT, "/region left.png", "What color is the sky?", "/save talk.txt", "/quit", "?"]
    done = sa2va("chat", "clip", "--every", "2", typed="\n".join(lines))
    assert done.exit_code == 0, done.output
    assert "Sure, [1]." in done.stdout and "The sky is blue." in done.stdout
    assert "Regions work on images" in done.stdout
    folder = tmp_path / "clip-chat"
    assert (folder / ".sa2va-output").exists(), "no input of a job"
    assert (folder / "overlays" / "answer-001.overlay.mp4").stat().st_size > 1000
    (masks,) = (folder / "masks" / "answer-001").iterdir()
    names = [path.name for path in sorted(masks.iterdir())]
    assert names == ["frame_000000.png", "frame_000002.png", "frame_000004.png"]
    talk = (tmp_path / "talk.txt").read_text()
    assert f"> {SEGMENT}\nSure, [1].\n" in talk and "> What color is the sky?\n" in talk


@pytest.fixture
def damaged_clip(tmp_path):
    """A folder of six frames, the last of which cannot be read."""
    (tmp_path / "clip").mkdir()
    for step in range(6):
        Image.effect_noise((48, 48), 60 + step).save(tmp_path / "clip" / f"{step}.png")
    (tmp_path / "clip" / "5.png").write_bytes(b"no picture")
    return "clip"


def test_the_answer_tells_what_was_wrong_with_a_clip_as_it_was_read(sa2va, damaged_clip):
    data = json.loads(sa2va("ask", damaged_clip, SEGMENT, "--json").stdout)
    assert [note.partition(":")[0] for note in data["notes"]] == ["frame 5 is missing"]
    assert data["num_frames"] == 5
    words = json.loads(sa2va("ask", damaged_clip, "What color is the sky?", "--json").stdout)
    assert words["num_frames"] == 5, "those that the language model saw"


def test_a_chat_tells_once_what_was_wrong_with_a_clip_as_it_was_read(sa2va, damaged_clip):
    talk = sa2va("chat", damaged_clip, typed=f"{SEGMENT}\n{SEGMENT}\n").stdout
    first, _, rest = talk.partition("(frame 5 is missing")
    assert "Sure, [1]" in first and "Sure, [1]" in rest
    assert "is missing" not in rest


def test_a_save_does_not_replace_what_others_wrote(sa2va, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = sa2va("chat", SINGLE, typed="/save mine.txt\n/save new.txt\n/save new.txt\n/save\n")
    assert "mine.txt is there already" in done.stdout and "Where to?" in done.stdout
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert done.stdout.count("saved:") == 2 and (tmp_path / "new.txt").exists()


def test_names_may_be_quoted_and_none_gives_the_terminal_orders(sa2va, tmp_path):
    shutil.copy(SINGLE, tmp_path / "a\n\x1b[31mb.png")
    write_region(tmp_path / "left half.png")
    write_region(tmp_path / "b.png")
    lines = ['/region "left half.png" b.png', "/region it's.png", "/save ~nobody-of-this-name/x"]
    done = sa2va("chat", "a\n\x1b[31mb.png", typed="\n".join([*lines, SEGMENT]))
    assert done.exit_code == 0, done.output
    assert "Call them region1, region2." in done.stdout
    assert "regions in it's.png cannot be read" in done.stdout
    assert "There is no home of ~nobody-of-this-name/x." in done.stdout
    assert "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31mb.png: ask away" in done.stdout
    assert "\x1b[31mb.png" not in done.stdout and "masks: " in done.stdout


def test_what_cannot_be_opened_ends_it_before_the_model_is_loaded(sa2va, tmp_path):
    missing = sa2va("ask", tmp_path / "gone.png", "?")
    assert isinstance(missing.exception, MediaError) and "gone.png" in str(missing.exception)
    (tmp_path / "talk.json").write_text('{"turns": [{"question": 1}]}')
    broken = sa2va("chat", SINGLE, "--resume", tmp_path / "talk.json")
    assert isinstance(broken.exception, UsageError) and "no conversation" in str(broken.exception)
    for done in (missing, broken):
        assert "loading" not in done.output
        assert exit_code(done.exception) == 2


def test_bytes_that_are_no_text_are_told_and_the_talk_goes_on(sa2va):
    done = sa2va("chat", SINGLE, typed=b"caf\xe9?\nWhat color is the sky?\n")
    assert done.exit_code == 0, done.output
    assert "no valid" in done.stdout
    asked = sa2va("ask", SINGLE, "caf\udce9?")
    assert isinstance(asked.exception, UsageError) and "no valid" in str(asked.exception)


def test_only_a_chat_needs_standard_input(golden_checkpoint):
    model = ["-m", str(golden_checkpoint), "-d", "cpu"]
    sa2va = [sys.executable, "-m", "sa2va_cli.cli"]
    asked = without_stdin([*sa2va, "ask", str(SINGLE), "What is in the picture?", *model])
    assert asked.returncode == 0 and asked.stdout, asked.stderr
    talk = without_stdin([*sa2va, "chat", str(SINGLE), *model])
    assert talk.returncode == 2
    assert talk.stderr.startswith("Error: Standard input is closed: nobody can type.")


def without_stdin(command):
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    return subprocess.run(shell, capture_output=True, text=True, check=False, timeout=120)


def test_an_empty_question_is_a_mistake(sa2va):
    done = sa2va("ask", SINGLE, " ")
    assert isinstance(done.exception, UsageError) and "question is empty" in str(done.exception)


@pytest.mark.parametrize("command", ["chat", "ask"])
def test_the_help_leads_with_examples_and_does_not_wait_for_torch(command):
    code = (
        "import atexit, os, sys; from sa2va_cli.cli.app import main;"
        "atexit.register(lambda: 'torch' in sys.modules and os._exit(9)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, "--help"],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    examples = [number for number, line in enumerate(lines) if f"sa2va {command} photo" in line]
    assert examples[0] < next(number for number, line in enumerate(lines) if "Arguments" in line)
