"""Every item is done once or told to be failed, whatever dies."""

import os
import sqlite3

import pytest

from sa2va_cli.errors import CheckpointError, JobError
from sa2va_cli.jobs.reader import StoreReader
from sa2va_cli.runners import RUNNERS
from tests.jobs.runs import job, results, run_job, workers_of
from tests.jobs.tiny import TinySource, write_pictures, write_poison


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_item_is_done_once(tmp_path, runner):
    write_pictures(tmp_path / "in", 9)
    state = run_job(job(tmp_path, runner=runner))
    assert (state.done, state.failed, state.left) == (9, 0, 0)
    connection = sqlite3.connect(tmp_path / "out/job.sqlite")
    tries = connection.execute("SELECT outcome, count(*) FROM attempts GROUP BY item, outcome")
    assert tries.fetchall() == [("done", 1)] * 9


def test_results_do_not_depend_on_the_number_of_workers(tmp_path):
    write_pictures(tmp_path / "in", 7)
    for number in ("cpu", "cpu:3"):
        run_job(job(tmp_path, devices=number, output=tmp_path / number))
    assert results(tmp_path / "cpu") == results(tmp_path / "cpu:3")


def test_the_same_command_again_does_nothing(tmp_path):
    write_pictures(tmp_path / "in", 3)
    run_job(job(tmp_path))
    before = results(tmp_path / "out")
    state = run_job(job(tmp_path), TinySource(broken="exit"))  # no worker would get far
    assert (state.done, state.done_before) == (0, 3)
    assert results(tmp_path / "out") == before


def test_an_item_that_kills_workers_is_given_up_and_the_others_are_done(tmp_path):
    write_pictures(tmp_path / "in", 6)
    write_poison(tmp_path / "in/die.png", "die")
    state = run_job(job(tmp_path))
    assert (state.done, state.failed) == (6, 1)
    with StoreReader(tmp_path / "out") as reader:
        failure = next(reader.failures())
    assert (failure.item_id, failure.attempts) == ("die.png", 2)
    assert "killed" in failure.reason


def test_an_item_that_hangs_is_given_up(tmp_path):
    write_pictures(tmp_path / "in", 3)
    write_poison(tmp_path / "in/hang.png", "hang")
    state = run_job(job(tmp_path, item_timeout=3.0))
    assert (state.done, state.failed) == (3, 1)
    assert results(tmp_path / "out")[-1].reason == "no sign of life for 3 s"


@pytest.mark.parametrize("runner", RUNNERS)
def test_no_memory_for_one_item_is_no_reason_to_end_the_worker(tmp_path, runner):
    write_pictures(tmp_path / "in", 3)
    write_poison(tmp_path / "in/oom.png", "oom")
    state = run_job(job(tmp_path, devices="cpu", runner=runner))
    assert (state.done, state.failed) == (3, 1)
    failure = results(tmp_path / "out")[-1]
    assert (failure.reason, failure.attempts) == ("Out of memory: no room for 3 TB", 1)


def test_an_error_of_the_model_is_the_reason_that_people_read(tmp_path):
    write_pictures(tmp_path / "in", 2)
    write_poison(tmp_path / "in/bug.png", "bug")
    state = run_job(job(tmp_path))
    assert (state.done, state.failed) == (2, 1)
    reason = results(tmp_path / "out")[-1].reason
    assert reason == "RuntimeError: CUDA error: device-side assert triggered"
    logs = "".join(path.read_text() for path in (tmp_path / "out/logs").iterdir())
    assert "Traceback" in logs


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("kind", ["bug", "encode"])
def test_an_error_before_or_behind_the_model_fails_its_item_only(tmp_path, runner, kind):
    write_pictures(tmp_path / "in", 5)
    write_poison(tmp_path / f"in/{kind}.png", kind)
    state = run_job(job(tmp_path, devices="cpu", runner=runner))
    assert (state.done, state.failed, state.left) == (5, 1, 0)
    failure = results(tmp_path / "out")[-1]
    assert (failure.item_id, failure.attempts) == (f"{kind}.png", 2)
    assert "Error: " in failure.reason


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_video_of_which_a_frame_cannot_be_encoded_is_not_done(tmp_path, runner):
    frames = write_pictures(tmp_path / "in/clip", 40)
    write_poison(frames[10], "encode", size=(16, 20))
    state = run_job(job(tmp_path, devices="cpu", runner=runner, frames_as_video=True))
    assert (state.done, state.failed) == (0, 1)


def test_a_broken_file_fails_and_the_others_are_done(tmp_path):
    write_pictures(tmp_path / "in", 2)
    (tmp_path / "in/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    state = run_job(job(tmp_path))
    assert (state.done, state.failed) == (2, 1)
    assert results(tmp_path / "out")[-1].item_id == "bad.png"


def test_workers_that_never_load_the_model_end_the_run(tmp_path):
    write_pictures(tmp_path / "in", 3)
    with pytest.raises(JobError, match=r"No worker is left: cpu-.: .*exit code 7"):
        run_job(job(tmp_path), TinySource(broken="exit"))


def test_weights_that_make_no_model_are_tried_once(tmp_path):
    write_pictures(tmp_path / "in", 3)
    with pytest.raises(CheckpointError, match="has the shape"):
        run_job(job(tmp_path, devices="cpu"), TinySource(broken="weights"))
    logs = (tmp_path / "out/logs/cpu.log").read_text()
    assert "Traceback" not in logs


def test_no_worker_outlives_a_run(tmp_path):
    write_pictures(tmp_path / "in", 3)
    run_job(job(tmp_path))
    assert workers_of(os.getpid()) == []
