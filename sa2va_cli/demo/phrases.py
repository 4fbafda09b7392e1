"""How things are named: descriptions that fit one thing, several or none."""

import itertools
import random
from dataclasses import dataclass

from sa2va_cli.demo.shapes import COLORS, FILLS, SHAPES, SIZES

ATTRIBUTES = ("size", "fill", "color", "shape")
VALUES: tuple[tuple[str, ...], ...] = (SIZES, FILLS, tuple(COLORS), SHAPES)
REFUSAL = "I can't find it in this image."
SUPERLATIVES = {"leftmost": (0, 1), "rightmost": (0, -1), "topmost": (1, 1), "bottommost": (1, -1)}
RELATIONS = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}

# A value or None ("any") for each of ATTRIBUTES.
Description = tuple[str | None, ...]
SUBSETS = tuple(
    subset for count in range(1, 5) for subset in itertools.combinations(range(4), count)
)
SHORT_SUBSETS = tuple(subset for subset in SUBSETS if len(subset) <= 2)


@dataclass(frozen=True, slots=True)
class Facts:
    """What can be said about a picture: the things to talk of, by their index in the scene."""

    indices: tuple[int, ...]
    words: tuple[tuple[str, ...], ...]
    centers: tuple[tuple[float, float], ...]  # x and y as parts of width and height

    def __len__(self) -> int:
        return len(self.indices)

    def matching(self, description: Description) -> list[int]:
        """Positions (not scene indices) of the things that fit."""
        places = list(range(len(self.words)))
        for number, want in enumerate(description):
            if want is not None:
                places = [place for place in places if self.words[place][number] == want]
        return places

    def scene_indices(self, places: list[int]) -> tuple[int, ...]:
        return tuple(self.indices[place] for place in places)

    def ahead(self, place: int, other: int, axis_sign: tuple[int, int]) -> float:
        """How far, as a part of the picture, `place` lies on the named side of `other`."""
        axis, sign = axis_sign
        return (self.centers[other][axis] - self.centers[place][axis]) * sign


def describe(words: tuple[str, ...], subset: tuple[int, ...]) -> Description:
    return tuple(words[i] if i in subset else None for i in range(4))


def noun(rng: random.Random, description: Description, plural: bool = False) -> str:
    """`large red circle`, `striped objects`: without an article."""
    *adjectives, shape = description
    shape = shape or rng.choice(("object", "object", "shape"))
    if plural:
        shape += "es" if shape == "cross" else "s"
    return " ".join([word for word in adjectives if word] + [shape])


def full_name(words: tuple[str, ...]) -> str:
    """`a large striped red circle`; a solid fill goes without saying."""
    size, fill, color, shape = words
    return " ".join(["a", size, *([fill] if fill != "solid" else []), color, shape])


def unique_description(rng: random.Random, facts: Facts, place: int) -> Description | None:
    """A description, usually short, that fits this thing only; None if it has a twin."""
    fitting = [
        description
        for subset in SUBSETS
        if len(facts.matching(description := describe(facts.words[place], subset))) == 1
    ]
    if not fitting:
        return None
    weights = [
        (3, 4, 1.5, 0.7)[sum(part is not None for part in description) - 1]
        * (1.6 if description[3] else 1)
        for description in fitting
    ]
    return rng.choices(fitting, weights)[0]


def shared_description(rng: random.Random, facts: Facts, place: int) -> Description:
    """A short description of this thing, which others may fit as well."""
    return describe(facts.words[place], rng.choice(((), *SHORT_SUBSETS)))


def absent_description(rng: random.Random, facts: Facts) -> Description | None:
    """Fits nothing here. Two in three recombine what is here: the hard case."""
    for _ in range(20):
        subset = rng.choice(((2, 3), (2, 3), (0, 2, 3), (1, 3), (1, 2, 3), (0, 3), (3,), (2,)))
        if rng.random() < 0.65:
            sources = [rng.choice(facts.words) for _ in range(4)]
        else:
            sources = [tuple(rng.choice(values) for values in VALUES)] * 4
        description = tuple(sources[i][i] if i in subset else None for i in range(4))
        if not facts.matching(description):
            return description
    return None


KNOWN_STRANGERS = [
    "dog",
    "cat",
    "car",
    "person",
    "man",
    "woman",
    "horse",
    "bird",
    "tree",
    "house",
    "boat",
    "bicycle",
    "cup",
    "bottle",
    "chair",
    "table",
    "cow",
    "sheep",
    "train",
    "plane",
    "bus",
    "truck",
    "child",
    "ball",
    "book",
    "phone",
    "flower",
    "apple",
    "banana",
    "lamp",
    "clock",
    "fish",
    "bear",
    "elephant",
    "zebra",
    "bench",
    "sign",
    "door",
    "window",
    "hat",
    "shoe",
    "bag",
    "umbrella",
    "pizza",
    "cake",
    "sofa",
    "bed",
    "keyboard",
]


def stranger(rng: random.Random) -> str:
    """A word that this world has no thing for: a real noun, or letters by chance."""
    if rng.random() < 0.4:
        return rng.choice(KNOWN_STRANGERS)
    syllables = rng.randint(1, 4)
    return "".join(
        rng.choice("bcdfghjklmnprstvwz")
        + rng.choice("aeiou")
        + rng.choice(("", "", "n", "r", "ff"))
        for _ in range(syllables)
    )
