"""What a chat does when the model cannot answer."""

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image

from sa2va_cli.cli.answers import AnswerFolder
from sa2va_cli.cli.medium import Medium
from sa2va_cli.cli.session import ChatSession
from sa2va_cli.results import Answer, MaskRecord


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


def test_answers_that_are_saved_at_once_do_not_overwrite_each_other(tmp_path):
    medium = Medium("a.png", str(tmp_path / "a.png"), "image", 4, 4)
    Image.new("RGB", (4, 4)).save(medium.path)
    mask = MaskRecord(0, 1, {"size": [4, 4], "counts": "04<"}, 0.9, 0.9)
    answer = Answer("It is [SEG].", seg_probabilities=(1.0,))

    def save(_):
        return AnswerFolder(tmp_path / "out", medium).save("What is it?", answer, [mask])

    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(save, range(24)))
    assert len({one.masks for one in saved}) == len({one.overlay for one in saved}) == 24
    assert all(len(list(one.masks.iterdir())) == 1 for one in saved)


def test_no_folder_is_named_for_what_was_pointed_at_and_is_not_there(tmp_path):
    medium = Medium("a.png", str(tmp_path / "a.png"), "image", 4, 4)
    Image.new("RGB", (4, 4)).save(medium.path)
    empty = MaskRecord(0, 1, {"size": [4, 4], "counts": "`0"}, 0.9, 0.1)
    answer = Answer("It is [SEG].", seg_probabilities=(1.0,))
    saved = AnswerFolder(tmp_path / "out", medium).save("What is it?", answer, [empty])
    assert saved.masks is None and saved.overlay.exists()
