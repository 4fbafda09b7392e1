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
