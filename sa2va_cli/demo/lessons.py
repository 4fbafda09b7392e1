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
    counting_cells,
    counting_target,
    coverage,
    dense_targets,
    pointer_target,
    region_cells_of,
    sam_pixels,
    soft_mask,
    value_indices,
    vision_pixels,
)

ROOM = 300  # tokens of questions and answers behind a picture
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
    values: Tensor  # (N, 4); of several things those that they share, -1 for the others
    boxed: Tensor  # (N,) bool: one thing
    taught: Tensor  # (N,) bool: the teacher has a prompt for it
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
    told: Places
    segs: Places
    objects: Objects


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture, or the first frames of a video, as a lesson needs it."""

    images: list[np.ndarray]
    masks: list[np.ndarray]  # (N, H, W) for each image
    words: list[tuple[str, ...]]
    views: list[np.ndarray]  # `coverage` of each image
    drawn: int = 0  # the image that is segmented
    cells: tuple[int, ...] = ()  # where each thing is counted, unless it is a video


def make_lesson(seeds: Sequence[int], questions: int, drawn: int) -> Lesson:
    """One picture for each seed with `questions` questions; `drawn` masks a picture at most."""
    scenes = [make_scene(seed, crowded=seed % 3 == 0) for seed in seeds]
    rng = random.Random(seeds[0])
    rows = [_picture_rows(rng, scene, questions) for scene in scenes]
    sights = [_sight(scene) for scene in scenes]
    dense = dense_targets(scenes), dense_targets(scenes, GRID, CELL_COVERED)
    return _lesson(rng, sights, rows, drawn, dense)


def _sight(scene: Scene) -> Sight:
    covered = coverage(scene.masks)
    return Sight(
        [scene.image],
        [scene.masks],
        [thing.words for thing in scene.things],
        [covered],
        cells=tuple(counting_cells(covered, scene.facts.centers)),
    )


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
            [coverage(masks) for masks in clip.masks],
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
        _told(sights, rows, starts),
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
    return fitting(into_rows(rng, exchanges, regions))


def fitting(rows: list[Row]) -> list[Row]:
    """As many as there is room for: pictures with the same number of tokens need no padding."""
    kept, room = [], ROOM
    for row in rows:
        if len(row.ids) <= room:
            kept.append(row)
            room -= len(row.ids)
    return kept


def _answers(sights: list[Sight], rows: list[list[Row]], starts: list[list[int]]) -> Places:
    """The token before each answer: there the model must know what it will talk about."""
    found = [
        (picture, start + answer - 1, exchange.kind, _about(sight, exchange))
        for picture, sight in enumerate(sights)
        for row, start in zip(rows[picture], starts[picture], strict=True)
        for answer, exchange in zip(row.answers, row.exchanges, strict=True)
    ]
    return _places(found)


def _about(sight: Sight, exchange: Exchange) -> np.ndarray:
    if exchange.kind == "count" and sight.cells:
        return counting_target(sight.cells, exchange.about)
    return pointer_target(sight.views, exchange.about)


def _told(sights: list[Sight], rows: list[list[Row]], starts: list[list[int]]) -> Places:
    """The tokens within answers: there the model must know which thing it is talking about."""
    found = []
    for picture, sight in enumerate(sights):
        pointers: dict[tuple[int, ...], np.ndarray] = {}
        for row, start in zip(rows[picture], starts[picture], strict=True):
            for place, exchange, things in row.told:
                if things not in pointers:
                    pointers[things] = pointer_target(sight.views, things)
                found.append((picture, start + place, exchange.kind, pointers[things]))
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
            found.append((picture, token, kind, pointer_target(sight.views, things)))
            objects.append(_object(sight, things, number in kept))
    boxes, values, masks = zip(*objects, strict=True) if objects else ((), (), ())
    boxed = [box[2] > 0 for box in boxes]
    told = [any(value >= 0 for value in each) for each in values]
    return _places(found), Objects(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        torch.tensor(values, dtype=torch.int64).view(-1, 4),
        torch.tensor(boxed, dtype=torch.bool),
        torch.tensor([a or b for a, b in zip(boxed, told, strict=True)], dtype=torch.bool),
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
    if len(sight.images) > 1:
        return NO_BOX, (BACKGROUND,) * 4, mask
    if len(things) > 1:
        return NO_BOX, shared_values(sight.words, things), mask
    return box_of(masks[things[0]]), value_indices(sight.words[things[0]]), mask


def shared_values(words: list[tuple[str, ...]], things: tuple[int, ...]) -> tuple[int, ...]:
    """What these things have in common, if it tells them from all others; else -1 four times."""
    each = np.array([value_indices(one) for one in words])
    same = (each[list(things)] == each[things[0]]).all(axis=0)
    fitting = (each[:, same] == each[things[0], same]).all(axis=1)
    if fitting.sum() > len(things):
        same[:] = False
    return tuple(int(value) for value in np.where(same, each[things[0]], BACKGROUND))


_NOT_DRAWN = np.zeros((MASK_SIDE, MASK_SIDE), np.float32)
NO_BOX = (0.0, 0.0, 0.0, 0.0)


def _places(found: list[tuple[int, int, str, np.ndarray]]) -> Places:
    pictures, tokens, kinds, pointers = zip(*found, strict=True) if found else ((), (), (), ())
    return Places(
        torch.tensor(pictures, dtype=torch.int64),
        torch.tensor(tokens, dtype=torch.int64),
        tuple(kinds),
        torch.from_numpy(np.stack(pointers)) if pointers else torch.zeros(0, GRID * GRID + 1),
    )
