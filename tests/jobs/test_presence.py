"""`--presence ask` from the command to the files: stored, exported, filtered."""

import json
import sqlite3
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sa2va_cli.cli.app import app
from sa2va_cli.cli.services import Services
from sa2va_cli.jobs.schema import store_path
from sa2va_cli.results import Answer, FrameMasks, Prediction

COMMAND = ["-m", "tiny", "--runner", "local", "-d", "cpu", "-q"]


class Doubter:
    """Says how likely a thing is by its colour; masks everything."""

    def answer_image(self, image, questions):
        mask = np.ones((1, *image.shape[:2]), bool)
        frame = FrameMasks(0, mask, np.full(1, 0.9, np.float32), np.full(1, 0.9, np.float32))
        return [Prediction(self._answer(question), (frame,)) for question in questions]

    def _answer(self, question):
        presence = None
        if question.presence:
            assert question.presence.endswith("in this image?")
            presence = 0.875 if "red" in question.presence else 0.125
        return Answer("Sure, [SEG].<|im_end|>", (0.75,), presence)


@dataclass(frozen=True)
class DoubterSource:
    def prepare(self):
        return "doubter-1", lambda device: Doubter()


@pytest.fixture
def sa2va(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (12, 8)).save(tmp_path / "in" / "a.png")

    def run(*arguments):
        services = Services(source_of=lambda config: DoubterSource())
        return CliRunner().invoke(app, [str(one) for one in arguments], obj=services)

    return run


@pytest.fixture
def annotate(sa2va, tmp_path):
    def run(*options):
        prompts = ("-p", "car=the red car", "-p", "car=the blue car")
        return sa2va(
            "annotate", tmp_path / "in", *prompts, "-o", tmp_path / "out", *COMMAND, *options
        )

    return run


def annotations(tmp_path):
    return json.loads((tmp_path / "out" / "annotations.json").read_text())["annotations"]


def answers(tmp_path):
    lines = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_presence_is_stored_and_in_every_file(annotate, tmp_path):
    done = annotate("--presence", "ask", "--jsonl", tmp_path / "lines.jsonl")
    assert done.exit_code == 0, done.output
    stored = sqlite3.connect(store_path(tmp_path / "out")).execute("SELECT presence FROM answers")
    assert stored.fetchall() == [(0.875,), (0.125,)]
    assert [one["presence"] for one in annotations(tmp_path)] == [0.875, 0.125]
    assert [one["presence"] for one in answers(tmp_path)] == [0.875, 0.125]
    line = json.loads((tmp_path / "lines.jsonl").read_text())
    assert [one["presence"] for one in line["answers"]] == [0.875, 0.125]


def test_what_is_unlikely_there_is_exported_as_not_there(annotate, sa2va, tmp_path):
    lines = tmp_path / "lines.jsonl"
    done = annotate("--presence", "ask", "--min-presence", "0.5", "--jsonl", lines)
    assert done.exit_code == 0, done.output
    assert [one["caption"] for one in annotations(tmp_path)] == ["the red car"]
    found = [one["objects"][0]["found"] for one in answers(tmp_path)]
    assert found == [True, False]  # told, not left out
    masks = [one["masks"][0]["area"] for one in json.loads(lines.read_text())["objects"]]
    assert masks == [96, 0]
    assert sa2va("export", tmp_path / "out").exit_code == 0
    assert len(annotations(tmp_path)) == 2  # all is stored
    assert sa2va("export", tmp_path / "out", "--min-presence", "0.9").exit_code == 0
    assert annotations(tmp_path) == []
    merged = sa2va("merge", tmp_path / "out", "-o", tmp_path / "all", "--min-presence", "0.5")
    assert merged.exit_code == 0
    data = json.loads((tmp_path / "all" / "annotations.json").read_text())
    assert [one["presence"] for one in data["annotations"]] == [0.875]


def test_without_it_nothing_is_asked_and_nothing_is_told(annotate, tmp_path):
    assert annotate().exit_code == 0
    assert all("presence" not in one for one in annotations(tmp_path))
    assert [one["presence"] for one in answers(tmp_path)] == [None, None]


def test_it_is_a_setting_of_the_job(annotate):
    assert annotate().exit_code == 0
    again = annotate("--presence", "ask")
    assert again.exit_code == 2 and "presence: off -> ask" in again.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--presence", "maybe"], "Unknown presence 'maybe'"),
        (["--presence", "ask", "--task", "ask"], "does not go with --task ask"),
        (["--min-presence", "0.5"], "add --presence ask"),
        (["--presence", "ask", "--min-presence", "5"], "not between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(annotate, tmp_path, options, words):
    refused = annotate(*options)
    assert refused.exit_code == 2 and words in refused.output
    assert not (tmp_path / "out").exists()
