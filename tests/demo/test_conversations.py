import random

import numpy as np
import pytest
import torch

from sa2va_cli.demo.build import GRID, fresh_model
from sa2va_cli.demo.conversations import (
    MIX,
    choose_exchanges,
    encode,
    into_rows,
    pack,
    picture_prefix,
    tokenizer,
)
from sa2va_cli.demo.learner import Learner
from sa2va_cli.demo.lessons import ROOM, make_lesson
from sa2va_cli.demo.questions import Exchange, ask
from sa2va_cli.demo.scenes import make_scene
from sa2va_cli.demo.speaking import read
from sa2va_cli.demo.targets import region_cells_of
from sa2va_cli.models.sa2va.conversation import Picture, prompt_text

PICTURE = Picture(frames=1, tokens_per_frame=GRID * GRID)


@pytest.fixture(scope="module")
def learner():
    return Learner(fresh_model()).eval()


@torch.inference_mode()
def test_a_row_in_a_packed_sequence_equals_the_row_alone(learner):
    rng = random.Random(0)
    facts = make_scene(0).facts
    rows = into_rows(rng, choose_exchanges(rng, facts, 4, {"attribute": 1, "count": 1}), {})
    visual = torch.randn(1, GRID * GRID, 160)
    packed, starts = pack([rows])
    states = read(learner, packed, visual)[0]
    for row, start in zip(rows, starts[0], strict=True):
        single, _ = pack([[row]])
        alone = read(learner, single, visual)[0]
        length = len(row.ids)
        torch.testing.assert_close(states[start : start + length], alone[-length:])


def test_training_and_predictor_spell_a_question_alike():
    exchange = Exchange("attribute", "\n Please segment the star in this image.", "Sure, [SEG].")
    row = into_rows(random.Random(0), [exchange], {})[0]
    asked = prompt_text("qwen_chat", PICTURE, f"<image>{exchange.question}", "", None)
    assert picture_prefix(1).ids + row.ids[: row.answers[0]] == encode(asked)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_training_and_predictor_spell_regions_alike(seed):
    scene = make_scene(seed)
    exchange = ask(random.Random(seed), "region", scene.facts)
    cells = region_cells_of(scene.masks, exchange.regions)
    row = into_rows(random.Random(0), [exchange], {exchange.regions: cells})[0]
    sizes = [len(region) for region in cells]
    asked = prompt_text("qwen_chat", PICTURE, f"<image>{exchange.question}", "", sizes)
    assert picture_prefix(1).ids + row.ids[: row.answers[0]] == encode(asked)
    visual = [number for number in row.visual if number >= 0]
    assert visual == np.concatenate(cells).tolist()


def test_training_and_predictor_spell_a_second_turn_alike():
    first = Exchange("count", "How many stars are there in this image?", "2.")
    second = Exchange("color", "What color is the star?", "It is red.")
    row = next(
        rows[0]
        for seed in range(100)
        if len(rows := into_rows(random.Random(seed), [first, second], {})) == 1
    )
    past = prompt_text("qwen_chat", PICTURE, f"<image>{first.question}", "", None)
    past += f"{first.answer}<|im_end|>\n"
    asked = prompt_text("qwen_chat", PICTURE, second.question, past, None)
    assert picture_prefix(1).ids + row.ids[: row.answers[1]] == encode(asked)


def test_only_answers_are_learnt():
    rng = random.Random(1)
    for row in into_rows(
        rng, choose_exchanges(rng, make_scene(1).facts, 8, MIX | {"region": 0}), {}
    ):
        answers = "".join(one.answer + "<|im_end|>" for one in row.exchanges)
        assert [label for label in row.labels if label >= 0] == encode(answers)
        assert len(row.segs) == answers.count("[SEG]")


def test_words_about_a_thing_are_known_to_be_about_it():
    facts = make_scene(2).facts
    caption = ask(random.Random(2), "caption", facts)
    row = into_rows(random.Random(0), [caption], {})[0]
    told: dict[tuple[int, ...], list[int]] = {}
    for place, _, things in row.told:
        told.setdefault(things, []).append(row.ids[place + 1])
    assert list(told) == list(caption.targets)
    for things, next_words in told.items():
        words = facts.words[facts.indices.index(things[0])]
        assert tokenizer().decode(next_words).split()[-1] == words[-1]

    color = ask(random.Random(2), "color", facts)
    row = into_rows(random.Random(0), [color], {})[0]
    assert {things for _, _, things in row.told} == {color.about}
    refused = ask(random.Random(2), "absent", facts)
    assert into_rows(random.Random(0), [refused], {})[0].told == []


def test_pictures_get_as_many_questions_as_there_is_room_for():
    lesson = make_lesson(range(4), 14, drawn=0)
    lengths = (lesson.sequences.rows >= 0).sum(dim=1) - len(picture_prefix(1).ids)
    assert (lengths <= ROOM).all() and (lengths > ROOM - 80).all()
