"""A lesson: pictures, conversations about them, and where in these to check what was understood."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa2va_cli.demo.build import GRID
from sa2va_cli.demo.conversations import Row, Sequences, choose_exchanges, into_rows, pack
from sa2va_cli.demo.questions import Exchange
from sa2va_cli.demo.scenes import Scene, make_scene
from sa2va_cli.demo.targets import (
    BACKGROUND,
    MASK_SIDE,
    DenseTargets,
    box_of,
    dense_targets,
    pointer_target,
    region_cells_of,
    sam_pixels,
    soft_mask,
    value_indices,
    vision_pixels,
)

CELL_COVERED = 0.2  # of a visual token, to be named after the thing


@dataclass(frozen=True, slots=True)
class Places:
    """Tokens in the sequences where something is known: (N,) picture and place of each."""

    pictures: Tensor
    tokens: Tensor
    kinds: tuple[str, ...]
    pointers: Tensor  # (N, cells + 1) what the state there should point at


@dataclass(frozen=True, slots=True)
class Objects:
    """What each [SEG] stands for."""

    boxes: Tensor  # (N, 4); zeros for several things
    values: Tensor  # (N, 4); -1 for several things
    single: Tensor  # (N,) bool
    masks: Tensor  # (N, side, side); zeros where `drawn` is not set
    drawn: Tensor  # (M,) which of them are to be drawn


@dataclass(frozen=True, slots=True)
class Lesson:
    """A batch for the language model, and for the segmenter if there are `sam_pixel_values`."""

    pixel_values: Tensor
    sam_pixel_values: Tensor | None
    patches: DenseTargets
    cells: DenseTargets
    sequences: Sequences
    answers: Places
    segs: Places
    objects: Objects


def make_lesson(seeds: Sequence[int], questions: int, drawn: int) -> Lesson:
    """One picture for each seed with `questions` questions; `drawn` masks a picture at most."""
    scenes = [make_scene(seed) for seed in seeds]
    rng = random.Random(seeds[0])
    rows_of_pictures = [_rows(rng, scene, questions) for scene in scenes]
    sequences, starts = pack(rows_of_pictures)
    segs, objects = _segs(rng, scenes, rows_of_pictures, starts, drawn)
    images = [scene.image for scene in scenes]
    return Lesson(
        vision_pixels(images),
        sam_pixels(images) if drawn else None,
        dense_targets(scenes),
        dense_targets(scenes, GRID, CELL_COVERED),
        sequences,
        _answers(scenes, rows_of_pictures, starts),
        segs,
        objects,
    )


def _rows(rng: random.Random, scene: Scene, questions: int) -> list[Row]:
    exchanges = choose_exchanges(rng, scene.facts, questions)
    regions = {
        exchange.regions: region_cells_of(scene, exchange.regions)
        for exchange in exchanges
        if exchange.regions
    }
    return into_rows(rng, exchanges, regions)


def _answers(scenes: list[Scene], rows: list[list[Row]], starts: list[list[int]]) -> Places:
    """The token before each answer: there the model must know what it will talk about."""
    found = [
        (picture, start + answer - 1, exchange.kind, pointer_target(scene, exchange.about))
        for picture, scene in enumerate(scenes)
        for row, start in zip(rows[picture], starts[picture], strict=True)
        for answer, exchange in zip(row.answers, row.exchanges, strict=True)
    ]
    return _places(found)


def _segs(
    rng: random.Random,
    scenes: list[Scene],
    rows: list[list[Row]],
    starts: list[list[int]],
    drawn: int,
) -> tuple[Places, Objects]:
    found, objects, chosen = [], [], []
    for picture, scene in enumerate(scenes):
        own = [
            (start + place, exchange.kind, things)
            for row, start in zip(rows[picture], starts[picture], strict=True)
            for place, exchange, things in _row_segs(row)
        ]
        kept = set(rng.sample(range(len(own)), min(drawn, len(own))))
        for number, (token, kind, things) in enumerate(own):
            if number in kept:
                chosen.append(len(found))
            found.append((picture, token, kind, pointer_target(scene, things)))
            objects.append(_object(scene, things, number in kept))
    boxes, values, masks = zip(*objects, strict=True) if objects else ((), (), ())
    return _places(found), Objects(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        torch.tensor(values, dtype=torch.int64).view(-1, 4),
        torch.tensor([value[0] >= 0 for value in values], dtype=torch.bool),
        torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, 1, 1),
        torch.tensor(chosen, dtype=torch.int64),
    )


def _row_segs(row: Row) -> list[tuple[int, Exchange, tuple[int, ...]]]:
    targets = [(exchange, things) for exchange in row.exchanges for things in exchange.targets]
    return [
        (place, exchange, things)
        for place, (exchange, things) in zip(row.segs, targets, strict=True)
    ]


def _object(
    scene: Scene, things: tuple[int, ...], drawn: bool
) -> tuple[tuple[float, ...], tuple[int, ...], np.ndarray]:
    mask = soft_mask(scene, things) if drawn else _NOT_DRAWN
    if len(things) > 1:
        return (0.0, 0.0, 0.0, 0.0), (BACKGROUND,) * 4, mask
    return box_of(scene, things[0]), value_indices(scene.things[things[0]].words), mask


_NOT_DRAWN = np.zeros((MASK_SIDE, MASK_SIDE), np.float32)


def _places(found: list[tuple[int, int, str, np.ndarray]]) -> Places:
    pictures, tokens, kinds, pointers = zip(*found, strict=True) if found else ((), (), (), ())
    return Places(
        torch.tensor(pictures, dtype=torch.int64),
        torch.tensor(tokens, dtype=torch.int64),
        tuple(kinds),
        torch.from_numpy(np.stack(pointers)) if pointers else torch.zeros(0, GRID * GRID + 1),
    )
