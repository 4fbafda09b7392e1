"""`sa2va annotate` with a real checkpoint, of the golden cases."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sa2va_cli import Sa2VA
from sa2va_cli.config import Prompt
from sa2va_cli.jobs.model_source import Loading, Sa2vaLoader
from sa2va_cli.jobs.reader import StoreReader
from sa2va_cli.masks import decode_rle, mask_iou
from sa2va_cli.media.image import load_image
from sa2va_cli.models.sa2va.plain import PlainEngine
from sa2va_cli.results import Question
from sa2va_cli.tasks import get_task

CASES = Path(__file__).parents[1] / "data" / "golden" / "internvl-qwen2" / "cases"


def sa2va(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "sa2va_cli.cli", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=250, env={**os.environ},
    )  # fmt: skip


def test_annotating_a_folder_equals_asking_the_model(tmp_path, golden_checkpoint, golden_model):
    (tmp_path / "in").mkdir()
    for name in ("image_single", "image_two_seg"):
        shutil.copy(CASES / name / "image.png", tmp_path / "in" / f"{name}.png")
    shutil.copytree(CASES / "video_3", tmp_path / "clip", ignore=only_pictures)
    prompts = ["the red car", "every person"]
    run = sa2va(
        "annotate", *(tmp_path / "in").iterdir(), tmp_path / "clip",
        "-m", golden_checkpoint, "-o", tmp_path / "out",
        *(word for prompt in prompts for word in ("-p", prompt)),
        "-d", "cpu:2", "--frames-as-video", "-f", "coco,masks,answers,youtube-vis",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    task = get_task("segment")
    with StoreReader(tmp_path / "out") as reader:
        items = list(reader.items())
        for item in items:
            if item.kind == "image":
                compare_image(item, reader, golden_model, task)
            else:
                compare_video(item, reader, golden_model)
    assert [item.kind for item in items] == ["video", "image", "image"]


def only_pictures(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(".png")]


def compare_image(item, reader, model, task) -> None:
    questions = [Question(answer.question) for answer in item.answers]
    predictions = model.answer_image(load_image(item.path).pixels, questions)
    assert [answer.raw_text for answer in item.answers] == [p.text for p in predictions]
    expected = [mask for p in predictions for frame in p.frames for mask in frame.masks]
    stored = [decode_rle(mask.rle) for mask in reader.masks(item.item_id)]
    assert len(item.objects) == len(stored) == len(expected)
    for ours, theirs in zip(stored, expected, strict=True):
        assert_alike(ours, theirs)


def compare_video(item, reader, model) -> None:
    frames = [load_image(str(path)).pixels for path in sorted(Path(item.path).glob("*.png"))]
    spoken = model.answer_video(frames, [Question(answer.question) for answer in item.answers])
    assert [answer.raw_text for answer in item.answers] == [a.text for a in spoken.answers]
    expected = [
        (frame.frame_idx, number, mask)
        for frame in spoken
        for number, mask in enumerate(frame.masks, start=1)
    ]
    stored = list(reader.masks(item.item_id))
    assert [(m.frame_idx, m.obj_id) for m in stored] == [(f, n) for f, n, _ in expected]
    for ours, (_, _, theirs) in zip(stored, expected, strict=True):
        assert_alike(decode_rle(ours.rle), theirs)
    assert item.num_frames == len(frames)


def assert_alike(ours: np.ndarray, theirs: np.ndarray) -> None:
    """But for a pixel in a thousand on the edge: two processes may round differently."""
    assert ours.shape == theirs.shape
    assert (ours != theirs).mean() <= 0.001


def test_a_result_does_not_hang_on_what_was_asked_before(golden_checkpoint):
    model = Sa2VA.from_pretrained(str(golden_checkpoint), device="cpu")
    picture = load_image(str(CASES / "image_two_seg" / "image.png")).pixels
    task, prompts = get_task("segment"), (Prompt("car", "the red car"), Prompt("x", "every person"))
    questions = [task.question(prompt, "image") for prompt in prompts]
    first, second = (model.answer_image(picture, questions) for _ in range(2))
    for before, after in zip(first, second, strict=True):
        assert before.text == after.text
        assert before.frames[0].masks.tobytes() == after.frames[0].masks.tobytes()
        assert before.frames[0].scores.tobytes() == after.frames[0].scores.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-m", "/no/such/folder"), "No model folder /no/such/folder"),
        (("-m", "owner/name", "--offline"), "Cannot get model 'owner/name'"),
        (("--dtype", "float8"), "Unknown dtype 'float8'"),
        (("--attention", "magic"), "Unknown attention 'magic'"),
        (("-m", "demo", "--sam2-weights", "gone.safetensors"), "No file gone.safetensors"),
    ],
)
def test_a_model_that_cannot_be_had_is_refused_before_anything_is_written(
    tmp_path, options, message
):
    shutil.copy(CASES / "image_single" / "image.png", tmp_path / "a.png")
    run = sa2va("annotate", tmp_path / "a.png", "-p", "x", "-o", tmp_path / "out", *options)
    assert run.returncode == 2
    assert message in run.stderr
    assert not (tmp_path / "out").exists()


def test_the_plain_engine_checks_what_the_fast_one_said(tmp_path, golden_checkpoint):
    plain = Sa2vaLoader(str(golden_checkpoint), Loading(engine="plain"))("cpu")
    assert isinstance(plain, PlainEngine)
    shutil.copy(CASES / "image_two_seg" / "image.png", tmp_path / "picture.png")
    said = {}
    for engine in ("fast", "plain"):
        run = sa2va(
            "annotate", tmp_path / "picture.png", "-m", golden_checkpoint, "-d", "cpu",
            "-p", "the red car", "-p", "every person", "-f", "answers",
            "-o", tmp_path / engine, "--engine", engine,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        with StoreReader(tmp_path / engine) as reader:
            (item,) = reader.items()
            said[engine] = (
                [answer.text for answer in item.answers],
                [decode_rle(mask.rle) for mask in reader.masks(item.item_id)],
            )
    assert said["fast"][0] == said["plain"][0] and said["fast"][1]
    for mask, other in zip(said["fast"][1], said["plain"][1], strict=True):
        assert mask_iou(mask, other) >= 0.999


@pytest.mark.parametrize("option", [["--compile"], ["--window", "20"]])
def test_what_the_plain_engine_cannot_do_is_refused_at_once(tmp_path, option):
    run = sa2va(
        "annotate", CASES, "-p", "a car", "-o", tmp_path / "out", "--engine", "plain", *option
    )
    assert run.returncode == 2
    assert "--engine plain with" in run.stderr and not (tmp_path / "out").exists()
