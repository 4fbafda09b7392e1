"""A lesson: pictures, conversations about them, and where in these to check what was understood."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa2va_cli.demo.build import GRID
from sa2va_cli.demo.conversations import (
    MIX,
    VIDEO_MIX,
    Row,
    Sequences,
    choose_exchanges,
    into_rows,
    pack,
)
from sa2va_cli.demo.motion import PROMPTED, Clip, make_clip
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

    pixel_values: Tensor  # (B * frames, ...)
    sam_pixel_values: Tensor | None  # (B, ...): of a video one frame
    dense: tuple[DenseTargets, DenseTargets] | None  # of patches and of visual tokens; no videos
    sequences: Sequences
    answers: Places
    segs: Places
    objects: Objects


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture, or the first frames of a video, as a lesson needs it."""

    images: list[np.ndarray]
    masks: list[np.ndarray]  # (N, H, W) for each image
    words: list[tuple[str, ...]]
    drawn: int = 0  # the image that is segmented


def make_lesson(seeds: Sequence[int], questions: int, drawn: int) -> Lesson:
    """One picture for each seed with `questions` questions; `drawn` masks a picture at most."""
    scenes = [make_scene(seed, crowded=seed % 3 == 0) for seed in seeds]
    rng = random.Random(seeds[0])
    rows = [_picture_rows(rng, scene, questions) for scene in scenes]
    sights = [
        Sight([scene.image], [scene.masks], [thing.words for thing in scene.things])
        for scene in scenes
    ]
    dense = dense_targets(scenes), dense_targets(scenes, GRID, CELL_COVERED)
    return _lesson(rng, sights, rows, drawn, dense)


def make_video_lesson(seeds: Sequence[int], questions: int, drawn: int) -> Lesson:
    """One video for each seed: five frames to read, one of them to draw."""
    rng = random.Random(seeds[0])
    clips = [make_clip(seed, PROMPTED, hurry=rng.uniform(0.8, 1.6)) for seed in seeds]
    rows = [into_rows(rng, video_exchanges(rng, clip, questions), {}) for clip in clips]
    sights = [
        Sight(
            list(clip.frames),
            list(clip.masks),
            [thing.words for thing in clip.things],
            rng.randrange(PROMPTED),
        )
        for clip in clips
    ]
    return _lesson(rng, sights, rows, drawn, None)


def video_exchanges(rng: random.Random, clip: Clip, count: int) -> list[Exchange]:
    """Questions whose targets are in view while the language model looks."""
    exchanges = choose_exchanges(rng, clip.facts, 4 * count, VIDEO_MIX)
    in_view = set(clip.in_view)
    return [one for one in exchanges if {i for t in one.targets for i in t} <= in_view][:count]


def _lesson(
    rng: random.Random,
    sights: list[Sight],
    rows: list[list[Row]],
    drawn: int,
    dense: tuple[DenseTargets, DenseTargets] | None,
) -> Lesson:
    sequences, starts = pack(rows, frames=len(sights[0].images))
    segs, objects = _segs(rng, sights, rows, starts, drawn)
    drawn_images = [sight.images[sight.drawn] for sight in sights]
    return Lesson(
        vision_pixels([image for sight in sights for image in sight.images]),
        sam_pixels(drawn_images) if drawn else None,
        dense,
        sequences,
        _answers(sights, rows, starts),
        segs,
        objects,
    )


def _picture_rows(rng: random.Random, scene: Scene, questions: int) -> list[Row]:
    exchanges = choose_exchanges(rng, scene.facts, questions, MIX)
    regions = {
        exchange.regions: region_cells_of(scene.masks, exchange.regions)
        for exchange in exchanges
        if exchange.regions
    }
    return into_rows(rng, exchanges, regions)


def _answers(sights: list[Sight], rows: list[list[Row]], starts: list[list[int]]) -> Places:
    """The token before each answer: there the model must know what it will talk about."""
    found = [
        (picture, start + answer - 1, exchange.kind, pointer_target(sight.masks, exchange.about))
        for picture, sight in enumerate(sights)
        for row, start in zip(rows[picture], starts[picture], strict=True)
        for answer, exchange in zip(row.answers, row.exchanges, strict=True)
    ]
    return _places(found)


def _segs(
    rng: random.Random,
    sights: list[Sight],
    rows: list[list[Row]],
    starts: list[list[int]],
    drawn: int,
) -> tuple[Places, Objects]:
    found: list[tuple[int, int, str, np.ndarray]] = []
    objects, chosen = [], []
    for picture, sight in enumerate(sights):
        own = [
            (start + place, exchange.kind, things)
            for row, start in zip(rows[picture], starts[picture], strict=True)
            for place, exchange, things in _row_segs(row)
        ]
        kept = set(rng.sample(range(len(own)), min(drawn, len(own))))
        for number, (token, kind, things) in enumerate(own):
            if number in kept:
                chosen.append(len(found))
            found.append((picture, token, kind, pointer_target(sight.masks, things)))
            objects.append(_object(sight, things, number in kept))
    boxes, values, masks = zip(*objects, strict=True) if objects else ((), (), ())
    return _places(found), Objects(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        torch.tensor(values, dtype=torch.int64).view(-1, 4),
        torch.tensor([value[0] >= 0 for value in values], dtype=torch.bool),
        torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, MASK_SIDE, MASK_SIDE),
        torch.tensor(chosen, dtype=torch.int64),
    )


def _row_segs(row: Row) -> list[tuple[int, Exchange, tuple[int, ...]]]:
    targets = [(exchange, things) for exchange in row.exchanges for things in exchange.targets]
    return [
        (place, exchange, things)
        for place, (exchange, things) in zip(row.segs, targets, strict=True)
    ]


def _object(
    sight: Sight, things: tuple[int, ...], drawn: bool
) -> tuple[tuple[float, ...], tuple[int, ...], np.ndarray]:
    """Box, values and mask of what a [SEG] stands for."""
    masks = sight.masks[sight.drawn]
    mask = soft_mask(masks, things) if drawn else _NOT_DRAWN
    if len(things) > 1 or len(sight.images) > 1:
        return (0.0, 0.0, 0.0, 0.0), (BACKGROUND,) * 4, mask
    return box_of(masks[things[0]]), value_indices(sight.words[things[0]]), mask


_NOT_DRAWN = np.zeros((MASK_SIDE, MASK_SIDE), np.float32)


def _places(found: list[tuple[int, int, str, np.ndarray]]) -> Places:
    pictures, tokens, kinds, pointers = zip(*found, strict=True) if found else ((), (), (), ())
    return Places(
        torch.tensor(pictures, dtype=torch.int64),
        torch.tensor(tokens, dtype=torch.int64),
        tuple(kinds),
        torch.from_numpy(np.stack(pointers)) if pointers else torch.zeros(0, GRID * GRID + 1),
    )
