"""What a video is to the rest of the program: facts, frames, and which of them to take."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol, Self

import numpy as np

from sa2va_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class FrameSampling:
    """Which frames to take, applied in this order. Frames keep their number in the file."""

    start: float = 0.0  # seconds from the first frame
    end: float | None = None  # seconds, exclusive
    fps: float | None = None  # at most this many frames a second
    every: int = 1  # of those, every n-th
    max_frames: int | None = None  # of those, the first so many
    between: bool = False  # decode the frames between those, too

    def __post_init__(self) -> None:
        if self.every < 1 or (self.max_frames is not None and self.max_frames < 1):
            raise UsageError("--every and --max-frames count frames.", hint="give 1 or more")
        if self.fps is not None and not 0 < self.fps < math.inf:  # also refuses NaN, as below
            raise UsageError("--fps must be more than 0.", hint="give frames a second, like 2.5")
        if not 0 <= self.start < math.inf:
            raise UsageError(
                f"--start {self.start:g} is no time in a video.", hint="give seconds, from 0 on"
            )
        if self.end is not None and not self.end > self.start:
            raise UsageError("--end must come after --start.", hint="give seconds")

    def select(self, times: Sequence[float]) -> list[int]:
        """Numbers of the frames to take, from the time of each frame in seconds."""
        first = times[0] if times else 0.0
        end = float("inf") if self.end is None else self.end
        chosen = [idx for idx, time in enumerate(times) if self.start <= time - first < end]
        if self.fps is not None:
            chosen = _thin_out(chosen, times, self.fps)
        return chosen[:: self.every][: self.max_frames]

    def span(self, times: Sequence[float], selected: Sequence[int]) -> list[int]:
        """The selected frames and, if they are wanted, those between and behind them.

        Behind the last one they go on to where the next one would be, or to the end.
        """
        if not self.between or not selected:
            return list(selected)
        following = replace(self, max_frames=None).select(times)[len(selected) :]
        first, end = times[0], float("inf") if self.end is None else self.end
        stop = following[0] if following else len(times)
        return [idx for idx in range(selected[0], stop) if times[idx] - first < end]


def _thin_out(chosen: Sequence[int], times: Sequence[float], fps: float) -> list[int]:
    """The first frame in each slot of 1 / fps seconds, counted from the first chosen frame."""
    kept: list[int] = []
    last_slot = -1
    for idx in chosen:
        slot = int((times[idx] - times[chosen[0]]) * fps + 1e-6)  # 1e-6: 0.04 * 25 is not 1
        if slot > last_slot:
            kept.append(idx)
            last_slot = slot
    return kept


ALL_FRAMES = FrameSampling()

LAST_FRAMES = 3  # of these, containers tell differently how long they are shown


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known before the frames are decoded."""

    width: int  # after rotation, like the frames
    height: int
    fps: float | None  # average over the file; None for a folder of frames
    duration: float | None  # seconds; None for a folder of frames
    declared_frames: int | None  # what the header says, if it does
    declared_duration: float | None  # seconds, where it does not
    num_frames: int  # what the file holds, counted without decoding
    selected: tuple[int, ...]  # the frames that are decoded
    sampled: tuple[int, ...]  # of these, the ones that the sampling names; all but for `between`

    def shortfall(self) -> str:
        """How the header and the file differ, in words; "" if they do not."""
        if self.declared_frames is not None and self.declared_frames != self.num_frames:
            return (
                f"the header says {self.declared_frames} frames, the file holds {self.num_frames}"
            )
        if self.declared_duration is None or self.duration is None:
            return ""
        slack = LAST_FRAMES * self.duration / self.num_frames
        if self.duration + slack >= self.declared_duration:
            return ""
        return (
            f"the header says {self.declared_duration:.1f} s, "
            f"the file holds {self.duration:.1f} s of pictures"
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame."""

    frame_idx: int  # its number in the file, from 0
    time: float  # seconds from the first frame; its number for a folder of frames
    pixels: np.ndarray  # (H, W, 3) uint8 RGB, upright


@dataclass(frozen=True, slots=True)
class Request:
    """What a decoder process is asked for, as JSON on its command line."""

    path: str
    sampling: FrameSampling
    use_decord: bool
    skip: int = 0  # selected frames that an earlier decoder has delivered

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Request":
        fields = json.loads(text)
        return cls(**{**fields, "sampling": FrameSampling(**fields["sampling"])})


class Video(Protocol):
    """An opened video: `info` at once, the frames by iterating, `notes` complete afterwards.

    Iterating again reads the file again from its start. Use it as a context manager: leaving it
    ends the decoder.
    """

    info: VideoInfo

    @property
    def notes(self) -> tuple[str, ...]:
        """Shortfalls and substitutions so far: "the header says 444 frames, …"."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Raises MediaError when not a single frame can be decoded."""
        ...

    def read(self, skip: int, missing: int = 0) -> Iterator[Frame]:
        """The same without the first `skip` of the selected frames.

        Of those, `missing` could not be decoded when they were read: the notes count them.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def resized_note(count: int) -> str:
    return f"frames of another size, resized to that of the first: {count}"
