import random

import pytest

from sa2va_cli.demo.phrases import REFUSAL, RELATIONS, SUPERLATIVES, Facts
from sa2va_cli.demo.questions import KINDS, ask
from sa2va_cli.demo.scenes import make_scene

RED, BLUE = ("small", "solid", "red", "circle"), ("large", "solid", "blue", "star")
TWO_STARS = Facts((0, 1, 2), (RED, BLUE, BLUE), ((0.1, 0.5), (0.5, 0.5), (0.9, 0.4)))


def fits(words, phrase):
    """Whether a thing fits a plain phrase, by its words alone."""
    known = {"small", "large", "solid", "striped", "dotted", "red", "green", "blue", "yellow"}
    known |= {"purple", "orange", "cyan", "white", "circle", "square", "triangle", "star", "ring"}
    said = {word.rstrip("s") if word != "crosses" else "cross" for word in phrase.lower().split()}
    return (said & (known | {"cross"})) <= set(words)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_question_comes_up(kind):
    found = [ask(random.Random(seed), kind, make_scene(seed).facts) for seed in range(12)]
    assert sum(exchange is not None for exchange in found) >= 4


@pytest.mark.parametrize("seed", range(25))
def test_an_attribute_phrase_fits_its_target_only(seed):
    facts = make_scene(seed).facts
    exchange = ask(random.Random(seed), "attribute", facts)
    if exchange is not None:
        assert [i for i, words in enumerate(facts.words) if fits(words, exchange.phrase)] == list(
            exchange.targets[0]
        )


@pytest.mark.parametrize("seed", range(25))
def test_a_plural_means_everything_that_fits(seed):
    facts = make_scene(seed).facts
    exchange = ask(random.Random(seed), "plural", facts)
    if exchange is not None:
        fitting = {i for i, words in enumerate(facts.words) if fits(words, exchange.phrase)}
        assert set(exchange.targets[0]) == fitting and len(fitting) > 1


@pytest.mark.parametrize("seed", range(25))
def test_counts_are_right(seed):
    facts = make_scene(seed).facts
    exchange = ask(random.Random(seed), "count", facts)
    fitting = sum(fits(words, exchange.question) for words in facts.words)
    assert exchange.answer == f"{fitting}." and len(exchange.about) == fitting


def test_a_superlative_is_the_outermost_of_those_that_fit():
    seen = set()
    for seed in range(300):
        exchange = ask(random.Random(seed), "superlative", TWO_STARS)
        if exchange is not None and "star" in exchange.phrase:
            word = next(word for word in SUPERLATIVES if word in exchange.phrase)
            axis, sign = SUPERLATIVES[word]
            outermost = min((1, 2), key=lambda i: TWO_STARS.centers[i][axis] * sign)
            assert exchange.targets == ((outermost,),)
            seen.add(word)
    assert {"leftmost", "rightmost"} <= seen


def test_a_relation_holds_for_its_target_and_no_other_candidate():
    for seed in range(300):
        exchange = ask(random.Random(seed), "relation", TWO_STARS)
        if exchange is not None and "star" in exchange.phrase.split(" of ")[0]:
            assert any(word in exchange.phrase for word in RELATIONS)
            assert exchange.targets in (((1,),), ((2,),))


@pytest.mark.parametrize("seed", range(25))
def test_what_is_absent_is_refused(seed):
    facts = make_scene(seed).facts
    exchange = ask(random.Random(seed), "absent", facts)
    if exchange is not None:
        assert exchange.answer == REFUSAL and not exchange.targets and not exchange.about


def test_a_caption_names_everything_from_left_to_right_with_one_seg_each():
    exchange = ask(random.Random(0), "caption", TWO_STARS)
    assert exchange.answer == (
        "The image shows <p> a small red circle </p> [SEG], <p> a large blue star </p> [SEG] and "
        "<p> a large blue star </p> [SEG]."
    )
    assert exchange.targets == ((0,), (1,), (2,))
