"""Who names no format gets files that hold what was annotated."""

import pytest

from tests.jobs.runs import sa2va
from tests.jobs.tiny import write_pictures


@pytest.mark.parametrize("with_video", [False, True])
def test_videos_bring_youtube_vis_unless_formats_are_named(tmp_path, with_video):
    write_pictures(tmp_path / "in" / "clip", 3)
    options = ("-p", "x", "-d", "cpu", *(["--frames-as-video"] if with_video else []))
    sa2va("annotate", tmp_path / "in", "-o", tmp_path / "out", *options)
    assert (tmp_path / "out" / "annotations.json").exists()
    assert (tmp_path / "out" / "youtube_vis.json").exists() == with_video
    sa2va("annotate", tmp_path / "in", "-o", tmp_path / "named", *options, "-f", "coco")
    assert not (tmp_path / "named" / "youtube_vis.json").exists()


@pytest.mark.parametrize("command", ["export", "merge"])
def test_an_export_that_names_no_format_writes_the_same(tmp_path, command):
    write_pictures(tmp_path / "in" / "clip", 2)
    options = ("-p", "x", "-d", "cpu", "--frames-as-video", "-f", "answers")
    sa2va("annotate", tmp_path / "in", "-o", tmp_path / "job", *options)
    assert not (tmp_path / "job" / "youtube_vis.json").exists()
    sa2va(command, tmp_path / "job", "-o", tmp_path / "out")
    for name in ("annotations.json", "answers.jsonl", "youtube_vis.json"):
        assert (tmp_path / "out" / name).exists(), name
