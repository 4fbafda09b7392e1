"""What is asked about a picture and what the right answer is, kind by kind."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from sa2va_cli.demo.phrases import (
    ATTRIBUTES,
    REFUSAL,
    RELATIONS,
    SHORT_SUBSETS,
    SUBSETS,
    SUPERLATIVES,
    Description,
    Facts,
    absent_description,
    describe,
    full_name,
    noun,
    shared_description,
    stranger,
    unique_description,
)
from sa2va_cli.demo.templates import (
    CAPTION_QUESTIONS,
    DESCRIPTION_QUESTIONS,
    REGION_QUESTIONS,
    enumerate_words,
    segmentation_question,
)

SURE = "Sure, [SEG]."
MARGIN = 0.06  # sides and extremes are only spoken of when this part of the picture apart


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, its answer, and what the answer is about (scene indices of things)."""

    kind: str
    question: str  # the text after the picture
    answer: str
    targets: tuple[tuple[int, ...], ...] = ()  # the things behind each [SEG]
    about: tuple[int, ...] = ()  # the things to look at before answering; empty: there is none
    regions: tuple[int, ...] = ()  # the things given as mask prompts
    phrase: str = ""  # what is to be segmented


def attribute(rng: random.Random, facts: Facts) -> Exchange | None:
    place = rng.randrange(len(facts))
    description = unique_description(rng, facts, place)
    if description is None:
        return None
    return _segment(rng, "attribute", f"the {noun(rng, description)}", facts, [place])


def superlative(rng: random.Random, facts: Facts) -> Exchange | None:
    description = shared_description(rng, facts, rng.randrange(len(facts)))
    places = facts.matching(description)
    if len(places) < 2 and rng.random() < 0.85:
        return None  # the word is needed to tell them apart
    word = rng.choice(list(SUPERLATIVES))
    axis, sign = SUPERLATIVES[word]
    places.sort(key=lambda place: facts.centers[place][axis] * sign)
    if len(places) > 1 and facts.ahead(places[0], places[1], (axis, sign)) < MARGIN:
        return None
    phrase = f"the {word} {noun(rng, description)}"
    return _segment(rng, "superlative", phrase, facts, places[:1])


def relation(rng: random.Random, facts: Facts) -> Exchange | None:
    found = _relation(rng, facts)
    if found is None:
        return None
    phrase, places, may_be = found
    if len(places) != 1 or may_be != places:
        return None
    return _segment(rng, "relation", phrase, facts, places)


def _relation(rng: random.Random, facts: Facts) -> tuple[str, list[int], list[int]] | None:
    """`the X above the Y`, the places of X that are above for certain, and those that may be."""
    anchor = rng.randrange(len(facts))
    anchor_description = unique_description(rng, facts, anchor)
    others = [place for place in range(len(facts)) if place != anchor]
    if anchor_description is None or not others:
        return None
    description = shared_description(rng, facts, rng.choice(others))
    candidates = [place for place in facts.matching(description) if place != anchor]
    if len(candidates) < 2 and rng.random() < 0.85:
        return None
    word = rng.choice(list(RELATIONS))
    gaps = {place: facts.ahead(place, anchor, RELATIONS[word]) for place in candidates}
    side = rng.choice(("", "", "to the ")) + word if word.endswith("of") else word
    phrase = f"the {noun(rng, description)} {side} the {noun(rng, anchor_description)}"
    certain = [place for place in candidates if gaps[place] > MARGIN]
    return phrase, certain, [place for place in candidates if gaps[place] > -MARGIN / 2]


def plural(rng: random.Random, facts: Facts) -> Exchange | None:
    description = describe(
        facts.words[rng.randrange(len(facts))], rng.choice(((), *SHORT_SUBSETS, *SHORT_SUBSETS))
    )
    places = facts.matching(description)
    if len(places) < 2:
        return None
    if rng.random() < 0.75:
        phrase = f"{rng.choice(('all', 'all the', 'the'))} {noun(rng, description, plural=True)}"
    else:
        phrase = f"{rng.choice(('every', 'each'))} {noun(rng, description)}"
    return _segment(rng, "plural", phrase, facts, places)


def several(rng: random.Random, facts: Facts) -> Exchange | None:
    places = rng.sample(range(len(facts)), min(len(facts), rng.choice((2, 2, 3))))
    descriptions = [unique_description(rng, facts, place) for place in places]
    if len(places) < 2 or None in descriptions:
        return None
    phrases = [f"the {noun(rng, description)}" for description in descriptions if description]
    answers = [f"<p> {phrase} </p> [SEG]" for phrase in phrases]
    indices = facts.scene_indices(places)
    return Exchange(
        "several",
        segmentation_question(rng, enumerate_words(phrases)),
        f"Sure, {enumerate_words(answers)}.",
        tuple((index,) for index in indices),
        indices,
    )


def absent(rng: random.Random, facts: Facts) -> Exchange | None:
    """Nothing fits: no such thing, none on that side, or a word from another world."""
    phrase = _absent_phrase(rng, facts)
    if phrase is None:
        return None
    return Exchange("absent", segmentation_question(rng, phrase), REFUSAL, phrase=phrase)


def _absent_phrase(rng: random.Random, facts: Facts) -> str | None:
    case = rng.random()
    if case < 0.2:
        return _strange_phrase(rng)
    if case < 0.35:
        found = _relation(rng, facts)
        return found[0] if found and not found[2] else None
    description = absent_description(rng, facts)
    if description is None:
        return None
    if case < 0.45:
        return f"the {rng.choice(list(SUPERLATIVES))} {noun(rng, description)}"
    if case < 0.55:
        return f"all {noun(rng, description, plural=True)}"
    if case < 0.65:
        anchor = unique_description(rng, facts, rng.randrange(len(facts)))
        if anchor is None:
            return None
        names = [noun(rng, anchor), noun(rng, description)]
        rng.shuffle(names)
        return f"the {names[0]} {rng.choice(list(RELATIONS))} the {names[1]}"
    return f"the {noun(rng, description)}"


def _strange_phrase(rng: random.Random) -> str:
    words = [word for word in (rng.choice(("", "large", "small")), _a_color(rng)) if word]
    article = rng.choice(("the", "the", "the", "a", "all", "every"))
    return " ".join([article, *words, stranger(rng)])


def _a_color(rng: random.Random) -> str:
    return rng.choice(("", "red", "green", "blue", "yellow", "white"))


def count(rng: random.Random, facts: Facts) -> Exchange | None:
    """Every number that the picture offers is asked for equally often."""
    if rng.random() < 0.15:
        absentee = absent_description(rng, facts)
        options = [absentee] if absentee else []
    else:
        options = [describe(words, subset) for words in facts.words for subset in SHORT_SUBSETS]
        options.append((None,) * 4)
    if not options:
        return None
    by_number: dict[int, list[Description]] = {}
    for option in options:
        by_number.setdefault(len(facts.matching(option)), []).append(option)
    number = rng.choice(sorted(by_number))
    description = rng.choice(by_number[number])
    question = f"How many {noun(rng, description, plural=True)} are there in this image?"
    about = facts.scene_indices(facts.matching(description))
    return Exchange("count", _lead(rng) + question, f"{number}.", about=about)


def exists(rng: random.Random, facts: Facts) -> Exchange | None:
    if rng.random() < 0.12:
        question = f"Is there {rng.choice(('a', 'the'))} {stranger(rng)} in this image?"
        return Exchange("yes_no", _lead(rng) + question, "No.")
    if rng.random() < 0.45:
        description = absent_description(rng, facts)
    else:
        description = describe(facts.words[rng.randrange(len(facts))], rng.choice(SUBSETS[:-1]))
    if description is None:
        return None
    name = noun(rng, description)
    article = rng.choice(("the", "an" if name[0] in "aeiou" else "a"))
    places = facts.matching(description)
    return Exchange(
        "yes_no",
        f"{_lead(rng)}Is there {article} {name} in this image?",
        "Yes." if places else "No.",
        about=facts.scene_indices(places),
    )


def has_color(rng: random.Random, facts: Facts) -> Exchange | None:
    """`Is the star red?`: half of the time it is not."""
    place = rng.randrange(len(facts))
    description = _description_without(rng, facts, place, "color")
    if description is None:
        return None
    color = rng.choice([rng.choice(facts.words)[2], facts.words[place][2]])
    return Exchange(
        "yes_no",
        f"{_lead(rng)}Is the {noun(rng, description)} {color}?",
        "Yes." if color == facts.words[place][2] else "No.",
        about=facts.scene_indices([place]),
    )


def color(rng: random.Random, facts: Facts) -> Exchange | None:
    return _what_is(rng, facts, "color")


def shape(rng: random.Random, facts: Facts) -> Exchange | None:
    return _what_is(rng, facts, "shape")


def _what_is(rng: random.Random, facts: Facts, asked: str) -> Exchange | None:
    if rng.random() < 0.05:
        question = f"What {asked} is the {stranger(rng)}?"
        return Exchange("absent", _lead(rng) + question, REFUSAL)
    place = rng.randrange(len(facts))
    description = _description_without(rng, facts, place, asked)
    if description is None:
        return None
    return Exchange(
        asked,
        f"{_lead(rng)}What {asked} is the {noun(rng, description)}?",
        _attribute_answer(facts.words[place], asked),
        about=facts.scene_indices([place]),
    )


def _attribute_answer(words: tuple[str, ...], asked: str) -> str:
    value = words[ATTRIBUTES.index(asked)]
    return f"It is a {value}." if asked == "shape" else f"It is {value}."


def _description_without(
    rng: random.Random, facts: Facts, place: int, asked: str
) -> Description | None:
    hidden = ATTRIBUTES.index(asked)
    fitting = [
        description
        for subset in SUBSETS
        if hidden not in subset
        and len(facts.matching(description := describe(facts.words[place], subset))) == 1
    ]
    return rng.choice(fitting) if fitting else None


def caption(rng: random.Random, facts: Facts) -> Exchange | None:
    """A grounded caption: every thing from left to right, each with its mask."""
    order = sorted(range(len(facts)), key=lambda place: facts.centers[place][0])
    names = [f"<p> {full_name(facts.words[place])} </p> [SEG]" for place in order]
    indices = facts.scene_indices(order)
    return Exchange(
        "caption",
        _lead(rng) + rng.choice(CAPTION_QUESTIONS),
        f"The image shows {enumerate_words(names)}.",
        tuple((index,) for index in indices),
        indices,
    )


def description(rng: random.Random, facts: Facts) -> Exchange | None:
    order = sorted(range(len(facts)), key=lambda place: facts.centers[place][0])
    names = [full_name(facts.words[place]) for place in order]
    return Exchange(
        "description",
        _lead(rng) + rng.choice(DESCRIPTION_QUESTIONS),
        f"The image shows {enumerate_words(names)}.",
        about=facts.scene_indices(order),
    )


def region(rng: random.Random, facts: Facts) -> Exchange | None:
    """Questions about a thing that is given as a mask, seldom one of two."""
    places = rng.sample(range(len(facts)), 2 if len(facts) > 1 and rng.random() < 0.15 else 1)
    which = rng.randrange(len(places))
    words = facts.words[places[which]]
    name = f"region{which + 1}"
    asked = rng.choice(("", "", "color", "shape"))
    if asked:
        question, answer = f"What {asked} is {name}?", _attribute_answer(words, asked)
    else:
        question = rng.choice(REGION_QUESTIONS).format(region=name)
        answer = f"It is {full_name(words)}."
    about = facts.scene_indices([places[which]])
    return Exchange("region", question, answer, (), about, facts.scene_indices(places))


def _segment(
    rng: random.Random, kind: str, phrase: str, facts: Facts, places: list[int]
) -> Exchange:
    indices = facts.scene_indices(places)
    question = segmentation_question(rng, phrase)
    return Exchange(kind, question, SURE, (indices,), indices, phrase=phrase)


def _lead(rng: random.Random) -> str:
    return rng.choice(("", "", "\n"))


KINDS: dict[str, Callable[[random.Random, Facts], Exchange | None]] = {
    "attribute": attribute,
    "superlative": superlative,
    "relation": relation,
    "plural": plural,
    "several": several,
    "absent": absent,
    "count": count,
    "exists": exists,
    "has_color": has_color,
    "color": color,
    "shape": shape,
    "caption": caption,
    "description": description,
    "region": region,
}


def ask(rng: random.Random, kind: str, facts: Facts, attempts: int = 10) -> Exchange | None:
    """An exchange of this kind, or None when the picture offers none."""
    for _ in range(attempts):
        exchange = KINDS[kind](rng, facts)
        if exchange is not None:
            return exchange
    return None
