"""What the figures of the model card count."""

import random

import pytest

from sa2va_cli.demo.conversations import ask
from sa2va_cli.demo.questions import REFUSAL
from sa2va_cli.demo.scenes import make_scene
from sa2va_cli.demo.scores import Scores, score_exchange
from sa2va_cli.results import Answer, Prediction


@pytest.fixture
def absent_color():
    """A question about the color of what is not in the scene."""
    scene = make_scene(3)
    asked = (ask(random.Random(seed), "color", scene.facts) for seed in range(500))
    return scene, next(one for one in asked if one and one.kind == "absent")


def test_who_names_a_color_of_what_is_absent_has_refused_nothing(absent_color):
    scene, asked = absent_color
    scores = Scores()
    score_exchange(scores, scene, asked, Prediction(Answer("It is red.<|im_end|>")))
    assert scores.count("absent refused") == 0
    assert scores.mean("question") == scores.mean("question: absent") == 0
    score_exchange(scores, scene, asked, Prediction(Answer(f"{REFUSAL}<|im_end|>")))
    assert scores.mean("question") == 0.5
