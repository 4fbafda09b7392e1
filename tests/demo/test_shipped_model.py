"""The shipped weights on a small held-out sample: a regression in engine or loader shows here."""

import numpy as np
import pytest
import torch

from sa2va_cli.demo.evaluate import GOALS, score_images, score_videos
from sa2va_cli.demo.motion import make_clip
from sa2va_cli.demo.phrases import KNOWN_STRANGERS, REFUSAL, full_name
from sa2va_cli.demo.scenes import HELD_OUT_SEED, make_scene
from sa2va_cli.demo.scores import Scores
from sa2va_cli.demo.tokenizer import world_words
from sa2va_cli.masks import mask_iou
from sa2va_cli.models.sa2va.hub import demo_folder
from sa2va_cli.models.sa2va.predictor import Sa2VA
from sa2va_cli.results import Question

# Lower than what the shipped weights reach on this very sample, by what other machines'
# arithmetic may change.
LEAST = {
    "attributes": 0.88,
    "relations": 0.80,
    "plurals and several": 0.82,
    "absent refused": 0.89,
    "question": 0.95,
    "count": 0.82,
    "caption phrases": 0.92,
    "region": 0.83,
}
MOST_REFUSED = 0.03
LEAST_VIDEO_J = 0.78


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)  # more only wait for each other at these sizes
    return Sa2VA.from_pretrained("demo", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def scores(model):
    scores = Scores()
    score_images(model, first=0, count=24, scores=scores)
    return scores


@pytest.mark.parametrize("task", LEAST)
def test_the_demo_model_is_as_good_as_its_card_says(scores, task):
    assert scores.mean(task) >= LEAST[task]


def test_the_demo_model_does_not_refuse_what_is_there(scores):
    assert scores.mean("falsely refused") <= MOST_REFUSED


def test_the_demo_model_follows_things_through_a_video(model):
    scores = Scores()
    score_videos(model, 2, scores)
    assert scores.mean("video J") >= LEAST_VIDEO_J


def test_a_word_it_never_saw_is_not_found(model):
    scene = make_scene(HELD_OUT_SEED)
    texts = ["the zyzzyva", "the red giraffe", "der rote Kreis", "🙂", "the quick brown fox jumps"]
    assert not {"zyzzyva", "giraffe", "rote", "quick"} & {*KNOWN_STRANGERS, *world_words()}
    questions = [Question(f"<image>\n Please segment {text} in this image.") for text in texts]
    for said in model.answer_image(scene.image, questions):
        assert said.text == f"{REFUSAL}<|im_end|>"
        assert not said.frames


def test_it_reads_five_frames_of_a_video(model):
    clip = make_clip(HELD_OUT_SEED + 1, 6)
    present = full_name(clip.facts.words[clip.in_view[0]]).removeprefix("a ")
    questions = [
        Question(f"<image>\nPlease segment {phrase}.")
        for phrase in (f"the {present}", "the zyzzyva")
    ]
    found = model.answer_video(list(clip.frames), questions)
    assert [answer.text for answer in found.answers] == [
        "Sure, [SEG].<|im_end|>",
        f"{REFUSAL}<|im_end|>",
    ]
    drawn = [frame.masks for frame in found]
    assert [len(masks) for masks in drawn] == [1] * 6
    overlaps = [
        mask_iou(masks[0], truth[clip.in_view[0]])
        for masks, truth in zip(drawn[:5], clip.masks, strict=False)
    ]
    assert np.mean(overlaps) > 0.6


def test_a_second_turn_is_answered(model):
    scene = make_scene(HELD_OUT_SEED)
    picture = "<img>" + "<IMG_CONTEXT>" * 64 + "</img>"
    past = (
        f"<|im_start|>user\n{picture}How many objects are there in this image?<|im_end|>\n"
        f"<|im_start|>assistant\n{len(scene.things)}.<|im_end|>\n"
    )
    question = Question("\n Please segment all objects in this image.", past_text=past)
    (said,) = model.answer_image(scene.image, [question])
    assert said.text == "Sure, [SEG].<|im_end|>"
    assert said.frames[0].masks.shape == (1, *scene.image.shape[:2])


def test_questions_do_not_disturb_each_other(model):
    scene = make_scene(HELD_OUT_SEED + 1)
    questions = [
        Question(f"<image>\n Please segment {phrase} in this image.")
        for phrase in ("all objects", "the leftmost object", "the topmost object")
    ]
    together = model.answer_image(scene.image, questions)
    for question, said in zip(questions, together, strict=True):
        (alone,) = model.answer_image(scene.image, [question])
        assert alone.text == said.text
        if said.frames:
            different = (alone.frames[0].masks != said.frames[0].masks).mean()
            assert different < 1e-3


def test_it_is_small():
    weights = demo_folder() / "model.safetensors"
    assert weights.stat().st_size < 15_000_000


def test_the_model_card_reports_every_goal():
    card = (demo_folder() / "README.md").read_text(encoding="utf-8")
    for task, goal, _ in GOALS:
        assert f"| {task} |" in card and f"{goal:.2f}" in card


@torch.inference_mode()
def test_it_runs_in_bfloat16_too(model):
    rough = Sa2VA.from_pretrained("demo", device="cpu", dtype="bfloat16")
    scene = make_scene(HELD_OUT_SEED + 2)
    question = [Question("<image>\n Please segment all objects in this image.")]
    (fine,), (coarse,) = (m.answer_image(scene.image, question) for m in (model, rough))
    assert coarse.text == fine.text
    assert np.mean(fine.frames[0].masks == coarse.frames[0].masks) > 0.97
