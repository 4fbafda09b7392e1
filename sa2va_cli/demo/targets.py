"""What the networks should see in a picture, at the resolutions in which they see it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sa2va_cli.demo.build import GRID, SAM_SIZE, TILE
from sa2va_cli.demo.phrases import VALUES
from sa2va_cli.demo.scenes import Scene
from sa2va_cli.models.sa2va.conversation import region_cells
from sa2va_cli.models.sa2va.preprocess import (
    frame_tile,
    normalise_sam,
    normalise_tiles,
    sam_square,
    tile_squares,
)

PATCHES = 2 * GRID
# Twice as fine as the decoder draws: what counts are masks at full size, and logits that are right
# cell by cell make those too small, since they fall off more steeply outside of things than inside.
MASK_SIDE = SAM_SIZE // 2
UNSURE = -100  # neither clearly a thing nor clearly background: not scored
BACKGROUND = -1


@dataclass(frozen=True, slots=True)
class DenseTargets:
    """What each patch of B pictures shows: the thing that covers it."""

    values: Tensor  # (B, patches, 4): index of size, fill, color, shape; BACKGROUND or UNSURE
    centers: Tensor  # (B, patches, 2): of that thing, as parts of the picture
    counted: Tensor  # (B, patches) bool: the one cell of each thing where it is counted


def vision_pixels(images: list[np.ndarray]) -> Tensor:
    """(B, 3, TILE, TILE), prepared as the predictor does it."""
    tiles = [frame_tile(Image.fromarray(image), TILE) for image in images]
    return normalise_tiles(tile_squares(tiles))


def sam_pixels(images: list[np.ndarray]) -> Tensor:
    """(B, 3, SAM_SIZE, SAM_SIZE), prepared as the predictor does it."""
    squares = torch.stack([sam_square(Image.fromarray(image), SAM_SIZE) for image in images])
    return normalise_sam(squares, torch.float32, video=True)


def shrink(mask: np.ndarray, side: int) -> np.ndarray:
    """(H, W) bool -> (side, side) float32: how much of each cell it covers."""
    return cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)


def soft_mask(masks: np.ndarray, indices: Sequence[int]) -> np.ndarray:
    """(N, H, W) -> (MASK_SIDE, MASK_SIDE) float32: how much of each cell a union covers."""
    return shrink(np.asarray(masks[list(indices)].any(axis=0)), MASK_SIDE)


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Center and sides of the visible part, as parts of the picture."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    return (
        (x0 + x1) / 2 / width,
        (y0 + y1) / 2 / height,
        (x1 - x0) / width,
        (y1 - y0) / height,
    )


def value_indices(words: tuple[str, ...]) -> tuple[int, ...]:
    """The number of each attribute's value."""
    return tuple(values.index(word) for values, word in zip(VALUES, words, strict=True))


def dense_targets(scenes: list[Scene], side: int = PATCHES, least: float = 0.3) -> DenseTargets:
    """For each cell of a grid the thing that covers most of it, if that is at least `least`."""
    values = np.full((len(scenes), side, side, 4), BACKGROUND, np.int64)
    centers = np.zeros((len(scenes), side, side, 2), np.float32)
    counted = np.zeros((len(scenes), side * side), bool)
    for number, scene in enumerate(scenes):
        covered = np.stack([shrink(mask, side) for mask in scene.masks])
        owner, most = covered.argmax(axis=0), covered.max(axis=0)
        values[number][(most > 0.02) & (most <= least)] = UNSURE
        facts = scene.facts
        for index in range(len(scene.things)):
            own = (owner == index) & (most > least)
            values[number][own] = value_indices(facts.words[index])
            centers[number][own] = facts.centers[index]
        if side == GRID:
            counted[number][counting_cells(covered, facts.centers)] = True
    return DenseTargets(
        torch.from_numpy(values).flatten(1, 2),
        torch.from_numpy(centers).flatten(1, 2),
        torch.from_numpy(counted),
    )


def counting_cells(coverages: np.ndarray, centers: Sequence[tuple[float, float]]) -> list[int]:
    """The visual token in which each thing is counted: of those that it covers well, the one
    nearest to its center."""
    places = (np.arange(GRID) + 0.5) / GRID
    cells = []
    for covered, (x, y) in zip(coverages, centers, strict=True):
        far = np.hypot(places[None] - x, places[:, None] - y)
        far[covered < min(0.2, covered.max())] = np.inf
        cells.append(int(far.argmin()))
    return cells


def counting_target(cells: Sequence[int], indices: tuple[int, ...]) -> np.ndarray:
    """`pointer_target` for a number: the cells where these things are counted."""
    shares = np.zeros(GRID * GRID + 1, np.float32)
    for index in indices:
        shares[cells[index]] += 1
    shares[-1] = shares.sum() == 0
    return shares / shares.sum()


def coverage(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) -> (N, GRID, GRID) float32: how much of each visual token a thing covers."""
    return np.stack([shrink(mask, GRID) for mask in masks])


def pointer_target(views: Sequence[np.ndarray], indices: tuple[int, ...]) -> np.ndarray:
    """(views * cells + 1,) float32: shares of attention, equal for each thing that is seen.

    `views` are `coverage`, one a frame. The last share is for "nothing at all".
    """
    cells = GRID * GRID
    shares = np.zeros(len(views) * cells + 1, np.float32)
    for number, view in enumerate(views):
        for index in indices:
            covered = view[index].ravel()
            shares[number * cells : (number + 1) * cells] += covered / max(covered.sum(), 1e-3)
    shares[-1] = shares.sum() == 0
    return shares / shares.sum()


def region_cells_of(masks: np.ndarray, indices: tuple[int, ...]) -> list[np.ndarray]:
    """The visual tokens that each region covers, chosen as the predictor chooses them."""
    cells = region_cells(masks[list(indices)], GRID)
    return [np.flatnonzero(region) for region in cells.flatten(1).numpy()]
