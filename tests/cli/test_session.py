"""What a chat does when the model cannot answer."""

import io

import pytest
import torch
from PIL import Image

from sa2va_cli.cli.answers import AnswerFolder
from sa2va_cli.cli.medium import Medium
from sa2va_cli.cli.session import ChatSession
from sa2va_cli.results import Answer


class Failing:
    """A conversation whose every answer ends as told."""

    turns = ()

    def __init__(self, fail):
        self._fail = fail

    def answer(self, *question):
        self._fail()


def talk(monkeypatch, tmp_path, fail):
    medium = Medium("a.png", str(tmp_path / "a.png"), "image", 4, 4)
    monkeypatch.setattr("sys.stdin", io.StringIO("What is it?\n/quit\n"))
    ChatSession(Failing(fail), medium, AnswerFolder(tmp_path, medium)).run()


def test_a_chat_goes_on_when_the_memory_of_the_processor_does_not_suffice(
    monkeypatch, tmp_path, capsys
):
    talk(monkeypatch, tmp_path, lambda: torch.empty(2**60, dtype=torch.uint8))
    told = capsys.readouterr().out
    assert "Out of memory, not asked: " in told and told.count("> ") == 2


def test_a_chat_does_not_hide_other_errors(monkeypatch, tmp_path):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        talk(monkeypatch, tmp_path, lambda: torch.ones(2, 3) @ torch.ones(2, 3))


def test_answers_that_are_saved_beside_a_job_leave_its_files(tmp_path):
    medium = Medium("a.png", str(tmp_path / "a.png"), "image", 4, 4)
    Image.new("RGB", (4, 4)).save(medium.path)
    of_a_job = [tmp_path / "masks/b.png/obj_001_car.png", tmp_path / "overlays/b.png.overlay.png"]
    for path in of_a_job:
        path.parent.mkdir(parents=True)
        path.touch()
    for _ in range(2):
        AnswerFolder(tmp_path, medium).save("What is it?", Answer("A square."), [])
    assert all(path.exists() for path in of_a_job)
    assert len(list((tmp_path / "overlays").glob("answer-*"))) == 2
