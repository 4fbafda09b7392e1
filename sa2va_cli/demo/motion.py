"""Videos of the demo world: shapes move, cross, hide behind bars and leave, with exact masks."""

import math
import random
from dataclasses import dataclass, replace

import numpy as np

from sa2va_cli.demo.phrases import Facts
from sa2va_cli.demo.scenes import (
    MIN_VISIBLE,
    add_grain,
    background,
    facts_of,
    picture_size,
    place_things,
)
from sa2va_cli.demo.shapes import Thing, paint

PROMPTED = 5  # frames that the language model sees
BAR_WIDTH = (0.2, 0.42)  # part of the picture: the widest hide large things
GONE = 0.35  # of the things after a cut
SEEN_BEFORE = (0, 2, 4)  # the prompted frames of a moment
LONGEST = 30  # frames of the video that a moment is of


@dataclass(frozen=True, slots=True)
class Clip:
    """A video and where everything is in each frame."""

    frames: np.ndarray  # (T, H, W, 3) uint8 RGB
    things: tuple[Thing, ...]  # as they start
    masks: np.ndarray  # (T, N, H, W) bool, visible pixels
    in_view: tuple[int, ...]  # things seen well in all frames that the language model sees

    @property
    def facts(self) -> Facts:
        """About everything that appears at any time, by its place in the first frame."""
        return facts_of(self.things, self.frames[0], range(len(self.things)))


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that things hide behind. Pixels."""

    across: bool  # a horizontal bar
    start: int
    stop: int
    color: tuple[float, float, float]

    def cover(self, canvas: np.ndarray, owners: np.ndarray) -> None:
        area = np.s_[self.start : self.stop] if self.across else np.s_[:, self.start : self.stop]
        canvas[area] = self.color
        owners[area] = -1

    def hides(self, thing: Thing) -> bool:
        """Whether all of it that matters is behind the bar."""
        place, reach = (thing.y if self.across else thing.x), 0.8 * thing.radius
        return self.start <= place - reach and place + reach <= self.stop


@dataclass(frozen=True, slots=True)
class Sequel:
    """What happens after the prompted frames."""

    hiding: bool = False  # something hides behind a bar and comes back
    skip: int = 1  # time passes so much faster
    cut: bool = False  # things have changed places, and some are gone
    moment: bool = False  # of a longer video, frames at which something hides or comes back


@dataclass(frozen=True, slots=True)
class Reel:
    """What is to be filmed: when, and how large. Pixels."""

    times: tuple[int, ...]
    num_prompted: int  # of these
    width: int
    height: int
    roles: tuple[int | None, ...]  # whose place and path each thing has after the prompted frames


@dataclass(frozen=True, slots=True)
class Path:
    """How a thing moves. Pixels a frame."""

    dx: float
    dy: float
    leaves: bool  # does not turn round at the border

    def at(self, thing: Thing, time: int, width: int, height: int) -> Thing:
        x, y = thing.x + self.dx * time, thing.y + self.dy * time
        if not self.leaves:
            x, y = _reflect(x, thing.radius, width), _reflect(y, thing.radius, height)
        return replace(thing, x=x, y=y)


def make_clip(seed: int, length: int, hurry: float = 1.0, sequel: Sequel = Sequel()) -> Clip:
    """The same video for the same arguments; things in a hurry hide within fewer frames."""
    rng = random.Random(seed)
    while True:
        width, height = picture_size(rng)
        things = place_things(rng, width, height, rng.choice((2, 3, 3, 4, 4, 5)))
        pace = math.sqrt(width * height) * 0.024 * hurry
        bars = _bars(rng, width, height)
        paths = [_path(rng, thing, bars, pace) for thing in things]
        roles = _recast(rng, len(things)) if sequel.cut else tuple(range(len(things)))
        reel = Reel(times_of(length, sequel.skip), PROMPTED, width, height, roles)
        if sequel.moment:
            times = _times_of_moment(rng, things, paths, bars, reel)
            if times is None:
                continue
            reel = replace(reel, times=times, num_prompted=len(SEEN_BEFORE))
        if sequel.hiding and not _something_hides(things, paths, bars, reel):
            continue
        clip = _film(rng, things, paths, bars, reel)
        if clip.in_view:
            return clip


def times_of(length: int, skip: int) -> tuple[int, ...]:
    """When the frames of a video are taken."""
    last = PROMPTED - 1
    return tuple(time if time <= last else last + (time - last) * skip for time in range(length))


def _times_of_moment(
    rng: random.Random,
    things: tuple[Thing, ...],
    paths: list[Path],
    bars: list[Bar],
    reel: Reel,
) -> tuple[int, ...] | None:
    """As many as in the reel: some of the prompted frames, and those about a moment, if any."""
    hides = []
    for thing, path in zip(things, paths, strict=True):
        places = [path.at(thing, time, reel.width, reel.height) for time in range(LONGEST)]
        hidden = [time for time, at in enumerate(places) if any(bar.hides(at) for bar in bars)]
        if hidden and hidden[0] >= PROMPTED:
            hides.append(hidden)
    if not hides:
        return None
    hidden = rng.choice(hides)
    count, step = len(reel.times) - len(SEEN_BEFORE), rng.choice((1, 1, 1, 2, 3))
    last = rng.randint(hidden[0] - 2, hidden[-1] + 2 + step * 2)
    first = max(PROMPTED, last - step * (count - 1))
    return SEEN_BEFORE + tuple(first + step * number for number in range(count))


def _recast(rng: random.Random, count: int) -> tuple[int | None, ...]:
    places = rng.sample(range(count), count)
    return tuple(None if rng.random() < GONE else place for place in places)


def _something_hides(
    things: tuple[Thing, ...], paths: list[Path], bars: list[Bar], reel: Reel
) -> bool:
    """Told from the paths alone: drawing videos only to throw them away would take too long."""
    for thing, path in zip(things, paths, strict=True):
        places = [path.at(thing, time, reel.width, reel.height) for time in reel.times]
        hidden = [any(bar.hides(place) for bar in bars) for place in places]
        if any(hidden[PROMPTED:]) and not any(hidden[:PROMPTED]) and not hidden[-1]:
            return True
    return False


def _bars(rng: random.Random, width: int, height: int) -> list[Bar]:
    bars = []
    for _ in range(rng.choice((0, 1, 1, 1))):
        across = rng.random() < 0.5
        side = height if across else width
        half = rng.uniform(*BAR_WIDTH) * side / 2
        middle = rng.uniform(0.25, 0.75) * side
        grey = rng.uniform(20, 160)
        red, green, blue = (grey + rng.uniform(-25, 25) for _ in range(3))
        bars.append(Bar(across, round(middle - half), round(middle + half), (red, green, blue)))
    return bars


def _path(rng: random.Random, thing: Thing, bars: list[Bar], pace: float) -> Path:
    """A third stand still; most of the others head for a bar, if there is one."""
    speed = rng.uniform(0.4, 1.6) * pace
    angle = rng.uniform(0, 2 * math.pi)
    dx, dy = speed * math.cos(angle), speed * math.sin(angle)
    if rng.random() < 0.3:
        return Path(0.0, 0.0, False)
    if bars and rng.random() < 0.7:
        bar = rng.choice(bars)
        middle = (bar.start + bar.stop) / 2
        if bar.across:
            dx, dy = dx * 0.3, speed if thing.y < middle else -speed
        else:
            dx, dy = speed if thing.x < middle else -speed, dy * 0.3
    return Path(dx, dy, rng.random() < 0.25)


def _reflect(value: float, radius: float, side: int) -> float:
    """A place that runs to and fro between the borders."""
    low, high = 0.6 * radius, side - 0.6 * radius
    span = high - low
    inside = (value - low) % (2 * span)
    return low + (inside if inside <= span else 2 * span - inside)


def _film(
    rng: random.Random,
    things: tuple[Thing, ...],
    paths: list[Path],
    bars: list[Bar],
    reel: Reel,
) -> Clip:
    length, width, height = len(reel.times), reel.width, reel.height
    still = background(rng, width, height)
    grainy = rng.random() < 0.5
    frames = np.empty((length, height, width, 3), np.uint8)
    masks = np.empty((length, len(things), height, width), bool)
    in_view = set(range(len(things)))
    for number, time in enumerate(reel.times):
        canvas, owners = still.copy(), np.full((height, width), -1, np.int8)
        prompted = number < reel.num_prompted
        for index, thing in enumerate(things):
            role = index if prompted else reel.roles[index]
            if role is not None:
                actor = replace(thing, x=things[role].x, y=things[role].y)
                paint(canvas, owners, paths[role].at(actor, time, width, height), index)
        for bar in bars:
            bar.cover(canvas, owners)
        masks[number] = owners == np.arange(len(things))[:, None, None]
        if prompted:
            in_view &= {i for i in in_view if _seen_well(masks[number, i], things[i])}
        if grainy:
            add_grain(rng, canvas)
        frames[number] = canvas.clip(0, 255)
    return Clip(frames, things, masks, tuple(sorted(in_view)))


def _seen_well(mask: np.ndarray, thing: Thing) -> bool:
    """Enough of it to tell what it is. (A star or ring covers some 40 % of its circle.)"""
    return bool(mask.sum() > MIN_VISIBLE * SOLIDITY[thing.shape] * math.pi * thing.radius**2)


SOLIDITY = {
    "circle": 1.0,
    "square": 0.8,
    "triangle": 0.54,
    "star": 0.54,
    "ring": 0.73,
    "cross": 0.75,
}
