"""Pictures of the demo world: shapes on varied backgrounds, with exact masks, from a seed."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sa2va_cli.demo.phrases import Facts
from sa2va_cli.demo.shapes import COLORS, FILLS, RADII, SHAPES, SIZES, Thing, paint

HELD_OUT_SEED = 2**40  # training counts up from 0 and never gets here; evaluation starts here
MIN_VISIBLE = 0.6


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and what is in it."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    things: tuple[Thing, ...]
    masks: np.ndarray  # (N, H, W) bool, visible pixels

    @property
    def facts(self) -> Facts:
        """What can be said about it."""
        return facts_of(self.things, self.image, range(len(self.things)))

    def union(self, indices: Iterable[int]) -> np.ndarray:
        """(H, W) bool: these things together."""
        return np.asarray(self.masks[list(indices)].any(axis=0))


@dataclass(frozen=True, slots=True)
class Palette:
    """Which shapes and colors a picture draws from; few of them make things alike."""

    shapes: tuple[str, ...]
    colors: tuple[str, ...]


def facts_of(things: Sequence[Thing], image: np.ndarray, indices: Iterable[int]) -> Facts:
    """The words and places of the things named by their indices."""
    height, width = image.shape[:2]
    chosen = tuple(indices)
    return Facts(
        chosen,
        tuple(things[index].words for index in chosen),
        tuple((things[index].x / width, things[index].y / height) for index in chosen),
    )


def make_scene(seed: int, crowded: bool = False) -> Scene:
    """The same picture for the same seed. `crowded` ones teach the eyes: more shapes a picture."""
    rng = random.Random(seed)
    while True:
        width, height = picture_size(rng)
        count = rng.randint(6, 9) if crowded else rng.choices(range(1, 8), (1, 3, 4, 4, 4, 3, 2))[0]
        things = place_things(rng, width, height, count)
        canvas = background(rng, width, height)
        owners = np.full((height, width), -1, np.int8)
        whole = [paint(canvas, owners, thing, index) for index, thing in enumerate(things)]
        masks = np.stack([owners == index for index in range(len(things))])
        visible = masks.sum(axis=(1, 2))
        if all(seen >= MIN_VISIBLE * full for seen, full in zip(visible, whole, strict=True)):
            add_grain(rng, canvas)
            return Scene(canvas.clip(0, 255).astype(np.uint8), things, masks)


def picture_size(rng: random.Random) -> tuple[int, int]:
    """Width and height: 150 to 256 pixels in the mean, from 9:16 to 16:9."""
    side = rng.uniform(150, 256)
    ratio = math.exp(rng.uniform(-0.29, 0.29)) if rng.random() < 0.9 else 1.0
    return round(side * ratio), round(side / ratio)


def place_things(rng: random.Random, width: int, height: int, count: int) -> tuple[Thing, ...]:
    """Up to `count` shapes that overlap a little at most."""
    palette = pick_palette(rng)
    unit = math.sqrt(width * height)
    things: list[Thing] = []
    for _ in range(count):
        for _attempt in range(25):
            thing = random_thing(rng, palette, (width, height, unit))
            if all(_apart(thing, other) for other in things) and not (
                any(thing.words == other.words for other in things) and rng.random() < 0.6
            ):
                things.append(thing)
                break
    return tuple(things)


def _apart(a: Thing, b: Thing) -> bool:
    return math.hypot(a.x - b.x, a.y - b.y) > 0.85 * (a.radius + b.radius)


def pick_palette(rng: random.Random) -> Palette:
    """Sixty percent of the pictures hold a few shapes or colors only, so that things compete."""
    shapes: tuple[str, ...] = SHAPES
    colors: tuple[str, ...] = tuple(COLORS)
    if rng.random() < 0.6:
        shapes = tuple(rng.sample(SHAPES, rng.randint(1, 4)))
    if rng.random() < 0.6:
        colors = tuple(rng.sample(colors, rng.randint(1, 4)))
    return Palette(shapes, colors)


def random_thing(rng: random.Random, palette: Palette, canvas: tuple[int, int, float]) -> Thing:
    """A shape anywhere on the canvas (width, height, and the unit of length)."""
    width, height, unit = canvas
    size, color = rng.choice(SIZES), rng.choice(palette.colors)
    radius = rng.uniform(*RADII[size]) * unit
    margin = radius * 0.9
    red, green, blue = (channel + rng.uniform(-16, 16) for channel in COLORS[color])
    return Thing(
        shape=rng.choice(palette.shapes),
        color=color,
        size=size,
        fill=rng.choice(("solid", *FILLS)),
        x=rng.uniform(margin, width - margin),
        y=rng.uniform(margin, height - margin),
        radius=radius,
        angle=rng.uniform(-0.35, 0.35),
        rgb=(red, green, blue),
        pattern=(rng.uniform(0, math.pi), rng.random(), rng.random() < 0.5),
    )


def background(rng: random.Random, width: int, height: int) -> np.ndarray:
    """(H, W, 3) float32: flat, a gradient, clouds or tiles, darker and duller than the shapes."""
    base = np.float32(rng.uniform(35, 150)) + _tint(rng, 22)
    kind = rng.random()
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:] = base
    if kind < 0.25:
        return canvas
    if kind < 0.5:
        angle = rng.uniform(0, 2 * math.pi)
        down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
        along = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
        weight = 0.5 + along * math.cos(angle) + down * math.sin(angle)
        canvas += weight[..., None] * (rng.uniform(-50, 50) + _tint(rng, 15))
    elif kind < 0.9:
        noise = np.random.default_rng(rng.getrandbits(32))
        for cells, strength in ((4, 28), (9, 18), (24, 10)):
            grey = noise.normal(0, strength, (cells, cells, 1))
            grid = grey + noise.normal(0, strength * 0.3, (cells, cells, 3))
            canvas += cv2.resize(
                grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
            )
    else:
        cell = rng.randint(8, 40)
        odd = (np.arange(height)[:, None] // cell + np.arange(width)[None] // cell) % 2
        canvas += odd[..., None] * np.float32(rng.uniform(-25, 25))
    return canvas.clip(0, 205)


def _tint(rng: random.Random, spread: float) -> np.ndarray:
    return np.array([rng.uniform(-spread, spread) for _ in range(3)], np.float32)


def add_grain(rng: random.Random, canvas: np.ndarray) -> None:
    """Half of the pictures get the noise of a sensor."""
    if rng.random() < 0.5:
        noise = np.random.default_rng(rng.getrandbits(32))
        canvas += noise.standard_normal(canvas.shape, np.float32) * rng.uniform(1, 6)
