"""Pictures and frames that other threads have resized are answered as if the model had."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image

from sa2va_cli.models.sa2va.steps import Steps
from sa2va_cli.models.sa2va.views import Views
from sa2va_cli.results import Question

PICTURE = np.random.default_rng(3).integers(0, 255, (60, 90, 3), dtype=np.uint8)
QUESTIONS = [
    Question("<image>Please segment the red circle and the green triangle."),
    Question("<image>What color is the sky?"),
]


def in_another_thread(make):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(make).result()


def assert_same(ours, theirs):
    assert [one.text for one in ours] == [one.text for one in theirs]
    assert ours[0].frames
    for one, other in zip(ours, theirs, strict=True):
        for frame, wanted in zip(one.frames, other.frames, strict=True):
            np.testing.assert_array_equal(frame.masks, wanted.masks)
            np.testing.assert_array_equal(frame.scores, wanted.scores)


def test_a_prepared_picture_is_answered_as_the_picture(golden_model):
    prepared = in_another_thread(lambda: golden_model.prepare(PICTURE))
    assert_same(
        golden_model.answer_image(prepared, QUESTIONS),
        golden_model.answer_image(PICTURE, QUESTIONS),
    )
    both = [(prepared, QUESTIONS), (PICTURE[:, :30], QUESTIONS)]
    for ours, (picture, _) in zip(golden_model.answer_images(both), both, strict=True):
        assert_same(ours, golden_model.answer_image(picture, QUESTIONS))


def test_of_a_prepared_picture_nothing_is_left_to_do_and_little_to_hold(golden_model, monkeypatch):
    prepared = golden_model.prepare(PICTURE)

    def refuse(*_):
        raise AssertionError("resized again")

    monkeypatch.setattr(Image.Image, "resize", refuse)
    monkeypatch.setattr(Image, "fromarray", refuse)
    assert golden_model.answer_image(prepared, QUESTIONS)[0].frames
    assert not any(isinstance(value, Image.Image) for value in vars(prepared).values())


def test_a_square_in_the_making_is_waited_for_and_made_once(golden_model, monkeypatch):
    made_by = []
    make = Views._make_square
    monkeypatch.setattr(
        Views,
        "_make_square",
        lambda views: made_by.append(threading.current_thread().name) or make(views),
    )
    expected = golden_model.steps.views(PICTURE).square
    views = golden_model.steps.views(PICTURE)
    with ThreadPoolExecutor(1, "other") as pool:
        views.make_square_in(pool)
        views.make_square_in(pool)
        assert torch.equal(views.square, expected)
        views.make_square_in(pool)
    assert [name[:5] for name in made_by] == ["MainT", "other"]


def test_frames_of_a_video_are_resized_ahead_of_a_gpu_alone(golden_model, monkeypatch):
    made_by = {}
    square = Views.of_a_frame

    def note(views):
        made_by[views] = threading.current_thread().name
        return square(views)

    monkeypatch.setattr(Views, "of_a_frame", note)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    frames = [golden_model.steps.views(PICTURE + shade) for shade in range(6)]
    steps = Steps(golden_model.model, golden_model.tokenizer)
    assert [views for _, views in steps.ahead(iter(enumerate(frames)))] == frames
    assert not made_by
    steps.device = torch.device("cuda")
    assert list(steps.ahead(iter(enumerate(frames)))) == list(enumerate(frames))
    assert made_by.keys() == set(frames)
    assert all(name.startswith("prefetch") for name in made_by.values())
