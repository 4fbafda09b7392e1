"""A video whose masks pile up in the store while it is worked on."""

import sqlite3
from contextlib import closing

from sa2va_cli.jobs.reader import StoreReader
from tests.jobs.runs import job, results, run_job, start, wait_for
from tests.jobs.tiny import TinySource, write_pictures

FRAMES = 200


def masks_stored(job_dir) -> int:
    if not (job_dir / "job.sqlite").exists():
        return 0
    with closing(sqlite3.connect(job_dir / "job.sqlite")) as connection:
        try:
            return connection.execute("SELECT count(*) FROM masks").fetchone()[0]
        except sqlite3.OperationalError:  # the tables are just being made
            return 0


def test_a_run_killed_in_the_middle_of_a_video_leaves_no_half_of_it(tmp_path):
    write_pictures(tmp_path / "clip", FRAMES)
    options = ("-p", "car=the red car", "-p", "person=every person", "--frames-as-video")
    run = start(
        "annotate", tmp_path / "clip", *options, "-o", tmp_path / "out", "-d", "cpu", seconds=0.1
    )
    wait_for(lambda: 0 < masks_stored(tmp_path / "out") < 2 * FRAMES)
    run.kill()
    run.communicate()
    assert masks_stored(tmp_path / "out") > 0, "they were written as they came"
    with StoreReader(tmp_path / "out") as reader:
        assert list(reader.items()) == []
        assert list(reader.masks("clip")) == []

    config = job(tmp_path, inputs=(str(tmp_path / "clip"),), frames_as_video=True, devices="cpu")
    run_job(config)
    ((video, masks),) = results(tmp_path / "out")
    assert (video.kind, video.num_frames) == ("video", FRAMES)
    assert [(m.frame_idx, m.obj_id) for m in masks] == [
        (f, o) for f in range(FRAMES) for o in (1, 2)
    ]
    assert masks_stored(tmp_path / "out") == 2 * FRAMES


def test_a_worker_that_is_slow_over_a_video_gives_signs_of_life(tmp_path):
    write_pictures(tmp_path / "clip", 30)
    config = job(
        tmp_path, inputs=(str(tmp_path / "clip"),), frames_as_video=True, devices="cpu",
        item_timeout=4.0,
    )  # fmt: skip
    assert run_job(config, TinySource(seconds=0.2)).done == 1, "6 s in all"


def test_frames_with_too_many_pixels_are_refused_as_pictures_are(tmp_path):
    write_pictures(tmp_path / "clip", 2)
    config = job(
        tmp_path, inputs=(str(tmp_path / "clip"),), frames_as_video=True, devices="cpu",
        runner="local", max_pixels=1,
    )  # fmt: skip
    assert run_job(config).failed == 1
