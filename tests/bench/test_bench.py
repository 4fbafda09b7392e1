"""`sa2va bench` on the demo model, and on random weights of a small size."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from typer.testing import CliRunner

from sa2va_cli.bench.arithmetic import Arithmetic
from sa2va_cli.bench.machine import Machine
from sa2va_cli.bench.random_weights import demo_tokenizer, forced_answer, random_model
from sa2va_cli.bench.stages import StageClock
from sa2va_cli.bench.work import KINDS, make_ready, parse_works
from sa2va_cli.cli.app import app
from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.checkpoint import Placement
from sa2va_cli.models.sa2va.config import load_config
from sa2va_cli.models.sa2va.hub import demo_folder
from sa2va_cli.models.sa2va.plain import PlainEngine
from sa2va_cli.models.sa2va.predictor import Sa2VA

NAMED = ["bench", "--model", "demo"]
COMMAND = [*NAMED, "-n", "1", "--frames", "6"]


@pytest.fixture(scope="module")
def figures():
    works = "image-2,batch-2,caption-1,video-1,images-2"
    result = CliRunner().invoke(app, [*COMMAND, "--json", "--works", works])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_work_is_measured_with_both_engines_and_the_stages_add_up(figures):
    assert [work["measurements"][0]["work"] for work in figures["works"]] == [
        "image-2", "batch-2", "caption-1", "video-1", "images-2",
    ]  # fmt: skip
    for work in figures["works"]:
        fast, plain = work["measurements"]
        assert (fast["engine"], plain["engine"]) == ("fast", "plain")
        assert fast["masks"] == plain["masks"]
        assert work["ratio"] == plain["seconds"][0] / fast["seconds"][0]
        for one in (fast, plain):
            stages = sum(stage["seconds"] for stage in one["stages"])
            assert stages == pytest.approx(one["seconds"][0])
            assert one["floor_seconds"] > 0 and 0 < one["ceiling_share"] < 1 and one["peak_gb"] > 0


def test_the_stages_tell_what_the_engines_do(figures):
    def passes(work, engine):
        stages = figures["works"][work]["measurements"][engine]["stages"]
        return {stage["stage"]: stage["passes"] for stage in stages}

    assert passes(0, 0)["vision tower"] == passes(0, 0)["SAM 2 encoder"] == 1
    assert passes(0, 1)["vision tower"] == 2
    assert passes(1, 0)["SAM 2 encoder"] == 1  # two images at a time
    assert passes(1, 0)["vision tower"] == 2  # on a processor always one tile
    assert passes(4, 0)["vision tower"] == passes(4, 0)["language: picture"] == 2
    assert passes(3, 1)["vision tower"] == 1  # as the reference: all key frames
    assert passes(3, 0)["SAM 2 encoder"] == 6
    assert passes(3, 1)["SAM 2 encoder"] == 6 + 5  # prompted frames are encoded twice


def test_a_processor_is_never_busier_than_its_threads():
    """Although other threads than the model's resize the pictures of a folder."""
    command = [*NAMED, "-n", "1", "--threads", "1", "--engine", "fast", "--works", "images-16"]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    (fast,) = json.loads(result.stdout)["works"][0]["measurements"]
    assert 0 < fast["busy_share"] <= 1


def test_a_caption_is_not_known_from_the_repetition_before():
    command = ["bench", "--model", "demo", "-n", "3", "--works", "caption-1", "--json"]
    result = CliRunner().invoke(app, [*command, "--engine", "fast"])
    assert result.exit_code == 0, result.output
    (fast,) = json.loads(result.stdout)["works"][0]["measurements"]
    alone = CliRunner().invoke(app, [*command, "--engine", "fast", "-n", "1"])
    (first,) = json.loads(alone.stdout)["works"][0]["measurements"]

    def passes(measured):
        return [stage["passes"] for stage in measured["stages"] if "answers" in stage["stage"]]

    assert passes(fast) == passes(first)


def test_the_arithmetic_is_not_done_while_the_clock_runs():
    model = Sa2VA.from_pretrained("demo", device="cpu")
    arithmetic = Arithmetic(model.config)
    clock = StageClock(model.model, arithmetic)
    ready = make_ready(parse_works("image-1")[0], 1)
    with clock.watching():
        model.answer_image(ready.pictures[0], ready.questions)
    networks = {"tile", "visual_token", "frame", "_masks_of_one_picture"}
    assert not networks & vars(arithmetic).keys()
    clock.passes()
    assert networks <= vars(arithmetic).keys()


def test_text_fits_80_columns():
    result = CliRunner().invoke(app, [*COMMAND, "--works", "image-1", "--engine", "fast"])
    assert result.exit_code == 0
    assert "mask decoder" in result.stdout and "TFLOP" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_random_weights_do_all_the_work_and_say_what_is_prescribed():
    config, tokenizer = load_config(demo_folder()), demo_tokenizer()
    model = random_model(config, Placement(torch.device("cpu"), torch.float32))
    for text, masks in (("image-2", 2), ("caption-6", 6)):
        (work,) = parse_works(text)
        ready = make_ready(work, 6)
        fast = Sa2VA(model, tokenizer, forced_answer=forced_answer(work, tokenizer))
        for _ in range(2):  # without a draft, then with one
            said = fast.answer_image(ready.pictures[0], ready.questions)
            assert [one.text for one in said] == [work.forced_text()] * len(ready.questions)
        plain = PlainEngine(fast.steps).answer_image(ready.pictures[0], ready.questions)
        assert [one.text for one in plain] == [one.text for one in said]
        assert sum(len(frame.masks) for one in plain for frame in one.frames) == masks


@pytest.mark.parametrize("text", ["", "image", "image-0", "film-3", "image-1,video", "image-999"])
def test_unknown_works_are_refused(text):
    with pytest.raises(UsageError, match="Unknown work"):
        parse_works(text)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([*NAMED, "--engine", "warp"], "Unknown engine 'warp'"),
        (["bench", "--random-weights", "ByteDance/Sa2VA-99B"], "Sa2VA-99B"),
        ([*NAMED, "--random-weights", "ByteDance/Sa2VA-1B"], "two models"),
        ([*NAMED, "--markdown", "no/such/folder.md"], "Cannot write"),
        ([*NAMED, "--markdown", "."], "Cannot write"),
        ([*NAMED, "--device", "cuda:99"], "no device cuda:99"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(options, reason):
    result = CliRunner().invoke(app, options)
    assert isinstance(result.exception, UsageError) and reason in str(result.exception)
    assert "at best" not in result.output


def test_works_differ_in_what_they_ask():
    for kind in KINDS:
        ready = make_ready(parse_works(f"{kind}-5")[0], 6)
        assert len(set(ready.questions)) == len(ready.questions)
        assert len(ready.pictures) == {"images": 5, "batch": 5, "video": 6}.get(kind, 1)


def test_the_floor_is_the_slower_of_computing_and_reading():
    machine = Machine("a box", 1, "2", {"float32": 2.0, "bfloat16": 4.0}, memory_gb_s=10.0)
    assert machine.floor(4e12, 1e9, "float32") == 2.0
    assert machine.floor(4e12, 1e9, "bfloat16") == machine.computing(4e12, "bfloat16") == 1.0
    assert machine.floor(1e9, 30e9, "float32") == 3.0


def test_ctrl_c_tells_what_was_measured_and_ends():
    command = [sys.executable, "-m", "sa2va_cli.cli", *COMMAND, "--works", "image-1,video-9"]
    command[command.index("--frames") + 1] = "2000"
    bench = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    for line in bench.stdout:
        if "times as fast" in line:
            break
    time.sleep(0.5)
    bench.send_signal(signal.SIGINT)
    _, told = bench.communicate(timeout=60)
    assert bench.returncode == 130 and "interrupted" in told and "Traceback" not in told


def test_each_network_is_held_to_what_its_own_format_allows():
    """On a processor, bfloat16 is for the vision tower."""
    command = [*COMMAND, "--dtype", "bfloat16", "--works", "image-1", "--engine", "fast", "--json"]
    figures = json.loads(CliRunner().invoke(app, command).stdout)
    speeds = figures["machine"]["matmul_tflops"]
    assert speeds.keys() == {"bfloat16", "float32"}
    (measured,) = figures["works"][0]["measurements"]
    flops = {stage["stage"]: stage["tflop"] for stage in measured["stages"]}
    slow = sum(flops.values()) - flops["vision tower"]
    computing = flops["vision tower"] / speeds["bfloat16"] + slow / speeds["float32"]
    assert measured["ceiling_share"] == pytest.approx(computing / measured["seconds"][0])


def test_a_work_that_cannot_be_done_does_not_hide_the_others(golden_checkpoint, tmp_path):
    """The plain engine has no videos for checkpoints with two decoders."""
    two_decoders = golden_checkpoint.parents[1] / "sa2va-i" / "checkpoint"
    table = tmp_path / "table.md"
    command = [
        "bench",
        "--model",
        str(two_decoders),
        "--forced-answers",
        "-n",
        "1",
        "--frames",
        "6",
    ]
    command += ["--works", "video-1,image-1", "--json", "--markdown", str(table)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2
    (work,) = json.loads(result.stdout)["works"]
    assert [one["work"] for one in work["measurements"]] == ["image-1", "image-1"]
    assert "video-1 was not measured: The plain engine" in result.stderr
    assert table.read_text().count("| fast |") == 1
