"""Questions, captions and windows on videos, through the real command and the demo model."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from sa2va_cli.demo.motion import make_clip


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A folder of frames in which something is in view from the beginning."""
    folder = tmp_path_factory.mktemp("clips") / "clip"
    folder.mkdir()
    for number, frame in enumerate(make_clip(2**40 + 3, 9).frames):
        Image.fromarray(frame).save(folder / f"{number:03d}.png")
    return folder


def annotate(clip, out, *options):
    """answers.jsonl and youtube_vis.json."""
    command = [sys.executable, "-m", "sa2va_cli.cli", "annotate", clip, "-o", out]
    command += ["--frames-as-video", "--model", "demo", "-d", "cpu", *options]
    run = subprocess.run(
        [*map(str, command), "-f", "answers,youtube-vis"],
        capture_output=True, text=True, check=False, timeout=250, env={**os.environ},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    answers = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    return answers, json.loads((out / "youtube_vis.json").read_text())


def test_a_question_about_a_video_gets_words(clip_folder, tmp_path):
    options = ("--task", "ask", "-p", "How many shapes are there?", "--key-sampling", "uniform")
    (answer,), data = annotate(clip_folder, tmp_path / "out", *options)
    assert answer["text"] and "windows" not in answer
    assert answer["question"] == "<image>\nHow many shapes are there?"
    assert answer["objects"] == data["annotations"] == []
    assert data["videos"][0]["length"] == 9


def test_a_caption_of_each_window_has_phrases_that_are_tracked(clip_folder, tmp_path):
    options = ("--task", "caption", "--window", "4", "--key-frames", "2", "--every", "2")
    options += ("--track-all",)
    (answer,), data = annotate(clip_folder, tmp_path / "out", *options)
    assert [window["frame_idx"] for window in answer["windows"]] == [0, 4]
    assert answer["objects"], "the demo model's captions have masks"
    assert {one["label"] for one in answer["objects"]} <= set(_phrases(answer["raw_text"]))
    assert data["videos"][0]["frame_idxs"] == list(range(9))
    for track in data["annotations"]:
        assert len(track["segmentations"]) == 9


def _phrases(raw_text):
    return [part.split("</p>")[0].strip() for part in raw_text.split("<p>")[1:]]
