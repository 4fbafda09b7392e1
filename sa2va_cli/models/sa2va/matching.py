"""Which object of earlier windows is it that the language model names anew?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sa2va_cli.models.sa2va.segmenter import DecodedMasks

MIN_OVERLAP = 0.3  # IoU over the shared frames: above it, two masks show one object
NEVER = -1


@dataclass(slots=True)
class Known:
    """An object that has its number."""

    obj_id: int
    question: int  # the one whose answer named it first
    name: str
    last_seen: int = NEVER  # position of the last frame that it was in sight in


@dataclass(frozen=True, slots=True)
class Named:
    """A [SEG] of the newest answers."""

    question: int
    name: str
    in_sight: bool  # in any key frame


def visible(decoded: DecodedMasks) -> Tensor:
    """(N, side, side) bool; nothing of an object that is probably not in the frame."""
    there = decoded.object_logits > 0
    return (decoded.mask_logits > 0) & there[:, None, None]


def overlaps(new: Sequence[Tensor], old: Sequence[Tensor]) -> Tensor:
    """Masks of M and of N objects in each shared frame -> (M, N) IoU over all of them."""
    shared = new[0].new_zeros(len(new[0]), len(old[0]), dtype=torch.float64)
    covered = torch.zeros_like(shared)
    for ours, theirs in zip(new, old, strict=True):
        a, b = ours.flatten(1).double(), theirs.flatten(1).double()
        both = a @ b.T  # counts of pixels: exact
        shared += both
        covered += a.sum(dim=1)[:, None] + b.sum(dim=1) - both
    return shared / covered.clamp(min=1)


@dataclass(frozen=True, slots=True)
class Compared:
    """What tracking shows of known objects in the frames that two windows share."""

    obj_ids: Sequence[int]
    ious: Tensor  # (named, tracked)
    in_sight: frozenset[int]  # of these, which are there in any of the frames


def identify(
    named: Sequence[Named], known: Sequence[Known], compared: Compared
) -> list[int | None]:
    """For each newly named object the number of the known one that it is, None if it is new.

    Never two for one: the pair that agrees best goes first. What overlaps nothing is a known
    object if one went by the same name and is out of sight, the one seen last before others:
    whatever a sentence names while its thing is hidden is that thing, back again.
    """
    found = _by_overlap(named, known, compared)
    lost = [o for o in known if o.obj_id not in compared.in_sight | set(found.values())]
    lost.sort(key=lambda one: (-one.last_seen, one.obj_id))
    for place, new in enumerate(named):
        if place not in found and new.in_sight:
            same = (o for o in lost if (o.question, o.name) == (new.question, new.name))
            if (back := next(same, None)) is not None:
                lost.remove(back)
                found[place] = back.obj_id
    return [found.get(place) for place in range(len(named))]


def _by_overlap(
    named: Sequence[Named], known: Sequence[Known], compared: Compared
) -> dict[int, int]:
    questions = {one.obj_id: one.question for one in known}
    ious = compared.ious.tolist()
    pairs = sorted(
        (-ious[place][column], obj_id, place)
        for place, new in enumerate(named)
        for column, obj_id in enumerate(compared.obj_ids)
        if new.in_sight and questions[obj_id] == new.question and ious[place][column] >= MIN_OVERLAP
    )
    found: dict[int, int] = {}
    for _, obj_id, place in pairs:
        if place not in found and obj_id not in found.values():
            found[place] = obj_id
    return found
