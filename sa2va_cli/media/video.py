"""Stream the frames of a video file or a folder of frames, at any length, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np


@dataclass(frozen=True, slots=True)
class FrameSampling:
    """Which frames to take. Frames keep the number that they have in the file."""

    fps: float | None = None  # at most this many frames a second
    every: int = 1  # of those, every n-th
    start: float = 0.0  # seconds
    end: float | None = None  # seconds, exclusive
    max_frames: int | None = None  # stop after so many


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known before the first frame is decoded."""

    width: int  # after rotation, like the frames
    height: int
    fps: float | None  # average; None for a folder of frames
    duration: float | None  # seconds; None for a folder of frames
    declared_frames: int | None  # what the header says
    num_frames: int  # what the file holds, counted without decoding
    selected_frames: int  # how many of these the sampling takes


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame."""

    frame_idx: int  # its number in the file, from 0
    time: float  # seconds from the first frame; frame_idx for a folder of frames
    pixels: np.ndarray  # (H, W, 3) uint8 RGB, upright


class Video:
    """An opened video: `info` at once, the frames by iterating, `notes` complete afterwards.

    Iterating again reads the file again from its start. Use as a context manager: leaving it
    ends the decoder process.
    """

    info: VideoInfo

    @property
    def notes(self) -> tuple[str, ...]:
        """Shortfalls and substitutions so far: "header says 444 frames, 68 decoded", …"""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Frame]:
        """Raises MediaError when no frame can be decoded, or a frame takes too long."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> "Video":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_video(
    path: str, sampling: FrameSampling = FrameSampling(), frame_timeout: float = 60.0
) -> Video:
    """Open a video file, or a folder as frames. Raises MediaError if there is nothing to decode.

    `frame_timeout` is in seconds, for opening and for each frame: a decoder that takes longer
    is killed and the next reader is tried.
    """
    raise NotImplementedError
