"""A video in windows: killed at any moment, the next run goes on at the last finished window."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

from sa2va_cli.cli.stream import item_line
from sa2va_cli.exporters import export_results
from sa2va_cli.jobs.merge import merge_jobs
from sa2va_cli.jobs.reader import StoreReader
from sa2va_cli.results import FrameRun
from tests.jobs.runs import job, results, run_job, start, wait_for
from tests.jobs.tiny import TinySource, write_pictures

FRAMES, WINDOW = 60, 10
OPTIONS = ("-p", "car=the red car", "-p", "person=every person", "--frames-as-video")


def rows(job_dir, query):
    if not (job_dir / "job.sqlite").exists():
        return []
    with closing(sqlite3.connect(job_dir / "job.sqlite")) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:  # the tables are just being made
            return []


def window_job(folder, **options):
    defaults = {"frames_as_video": True, "window": WINDOW, "inputs": (str(folder / "clip"),)}
    return job(folder, **defaults | options)


def test_a_killed_run_goes_on_at_the_last_finished_window(tmp_path):
    write_pictures(tmp_path / "clip", FRAMES)[5].write_bytes(b"\x89PNG\r\n\x1a\n")
    whole = window_job(tmp_path, output=tmp_path / "whole")
    run_job(whole)
    out = tmp_path / "out"
    for place in (20, 40):
        arguments = (tmp_path / "clip", *OPTIONS, "-o", out, "-d", "cpu", "--window", str(WINDOW))
        run = start("annotate", *arguments, seconds=0.1)
        reached = f"SELECT 1 FROM checkpoints WHERE frame_idx >= {place}"
        wait_for(lambda reached=reached: rows(out, reached))
        run.kill()
        run.communicate()
    ((stored,),) = rows(out, "SELECT frame_idx FROM checkpoints")
    with StoreReader(out) as reader:
        assert list(reader.items()) == []
    # Frames before the checkpoint are not done again: a mark on one of them stays.
    with closing(sqlite3.connect(out / "job.sqlite")) as connection:
        connection.execute("UPDATE masks SET score = 77 WHERE frame_idx = ?", (stored - 1,))
        connection.commit()
    assert run_job(window_job(tmp_path)).done == 1
    ((video, masks),), ((same, expected),) = results(out), results(tmp_path / "whole")
    assert video == same
    assert video.notes[0].startswith("frame 5 is missing"), "also when an earlier run met it"
    marked = [mask for mask in masks if mask.score == 77]
    assert {mask.frame_idx for mask in marked} == {stored - 1}
    expected = [replace(m, score=77.0) if m.frame_idx == stored - 1 else m for m in expected]
    assert masks == expected
    assert rows(out, "SELECT * FROM checkpoints") == []


def test_what_is_said_at_each_window_is_stored_and_exported(tmp_path):
    write_pictures(tmp_path / "clip", 25)
    run_job(window_job(tmp_path))
    ((video, _),) = results(tmp_path / "out")
    assert [(w.window, w.prompt_idx, w.frame_idx) for w in video.windows] == [
        (window, prompt, window * WINDOW) for window in range(3) for prompt in range(2)
    ]
    assert [o.obj_id for o in video.objects] == [1, 2, 3, 4]
    assert [answer.text for answer in video.answers] == ["Sure."] * 2, "each text once"
    assert video.frames == (FrameRun(0, 1, 25),)
    with StoreReader(tmp_path / "out") as reader:
        formats = ["answers", "youtube-vis", "jsonl", "davis", "ref-vos"]
        export_results(reader, formats, tmp_path / "out")
        line = json.loads(item_line(video, reader))
    first, second = map(json.loads, (tmp_path / "out" / "answers.jsonl").read_text().splitlines())
    for answer in (first, second, *line["answers"]):
        assert [window["frame_idx"] for window in answer["windows"]] == [0, 10, 20]
    data = json.loads((tmp_path / "out" / "youtube_vis.json").read_text())
    gone = [[area is None for area in track["areas"]] for track in data["annotations"]]
    assert gone[0] == [False] * 10 + [True] * 15
    assert gone[3] == [True] * 20 + [False] * 5
    assert all(len(track["segmentations"]) == 25 for track in data["annotations"])


def test_shards_in_windows_merge(tmp_path):
    write_pictures(tmp_path / "clip", 25)
    run_job(window_job(tmp_path))
    merge_jobs([tmp_path / "out"], tmp_path / "all")
    assert results(tmp_path / "all") == results(tmp_path / "out")


def test_a_file_that_changed_is_begun_anew(tmp_path):
    write_pictures(tmp_path / "clip", FRAMES)
    out = tmp_path / "out"
    arguments = (tmp_path / "clip", *OPTIONS, "-o", out, "-d", "cpu", "--window", str(WINDOW))
    run = start("annotate", *arguments, seconds=0.05)
    wait_for(lambda: rows(out, "SELECT 1 FROM checkpoints"))
    run.kill()
    run.communicate()
    write_pictures(tmp_path / "clip", FRAMES - 1, size=18)
    (tmp_path / "clip" / f"{FRAMES - 1:05d}.png").unlink()
    run_job(window_job(tmp_path))
    run_job(window_job(tmp_path, output=tmp_path / "other"))
    assert results(out) == results(tmp_path / "other")


def test_being_killed_over_a_video_that_gets_on_never_counts_against_it(tmp_path):
    write_pictures(tmp_path / "clip", 40)
    out = tmp_path / "out"
    arguments = (tmp_path / "clip", *OPTIONS, "-o", out, "-d", "cpu", "--window", "2")
    for place in (2, 4, 6):
        run = start("annotate", *arguments, seconds=0.1)
        reached = f"SELECT 1 FROM checkpoints WHERE frame_idx >= {place}"
        wait_for(lambda reached=reached: rows(out, reached))
        run.kill()
        run.communicate()
    outcomes = {outcome for (outcome,) in rows(out, "SELECT outcome FROM attempts")}
    assert outcomes <= {"released", None}
    assert run_job(window_job(tmp_path, window=2), TinySource()).done == 1
