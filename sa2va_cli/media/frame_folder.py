"""A folder of frames as a video: its pictures in natural order, read one at a time."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from sa2va_cli.errors import MediaError
from sa2va_cli.media import sniff
from sa2va_cli.media.frames import Frame, FrameSampling, VideoInfo, resized_note
from sa2va_cli.media.image import MAX_PIXELS, load_image
from sa2va_cli.media.item import printable


class FrameFolder:
    """See frames.Video. It has no clock: --fps, --start and --end do not apply, and it says so."""

    def __init__(self, path: str, sampling: FrameSampling, max_pixels: int = MAX_PIXELS) -> None:
        self._paths = frame_paths(path)
        self._max_pixels = max_pixels
        self._notes: dict[str, None] = {}
        self._resized: set[int] = set()
        if not self._paths:
            raise MediaError(f"{printable(path)} holds no pictures.")
        if sampling.fps is not None or sampling.start or sampling.end is not None:
            note = "a folder of frames has no clock: taken without --fps, --start and --end"
            self._notes[note] = None
        count = len(self._paths)
        sampled = range(count)[:: sampling.every][: sampling.max_frames]
        stop = min(count, len(sampled) * sampling.every)
        selected = range(stop) if sampling.between else sampled
        height, width = self._first_size(path, selected)
        self.info = VideoInfo(
            width, height, None, None, None, None, count, tuple(selected), tuple(sampled)
        )

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def __iter__(self) -> Iterator[Frame]:
        return self.read(0)

    def read(self, skip: int, missing: int = 0) -> Iterator[Frame]:
        size = (self.info.width, self.info.height)
        for frame_idx in self.info.selected[skip:]:
            pixels = self._load(frame_idx)
            if pixels is None:
                continue
            if pixels.shape[1::-1] != size:
                self._resized.add(frame_idx)
                pixels = np.array(Image.fromarray(pixels).resize(size))
            yield Frame(frame_idx, float(frame_idx), pixels)
        if self._resized:
            self._notes[resized_note(len(self._resized))] = None

    def close(self) -> None:
        """Nothing stays open between frames."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _first_size(self, path: str, selected: range) -> tuple[int, ...]:
        for frame_idx in selected:
            pixels = self._load(frame_idx)
            if pixels is not None:
                return pixels.shape[:2]
        raise MediaError(f"{printable(path)}: none of its pictures can be read.")

    def _load(self, frame_idx: int) -> np.ndarray | None:
        """None, with a note, for a frame that is broken: the others keep their numbers."""
        try:
            return load_image(self._paths[frame_idx], self._max_pixels).pixels
        except MediaError as error:
            reason = str(error).split("\n")[0]
            self._notes[f"frame {frame_idx} is missing: {reason}"] = None
            return None


def frame_paths(path: str) -> list[str]:
    """Pictures by content or by name, in order: a broken one still is a frame.

    Raises MediaError for a folder that cannot be read.
    """
    try:
        with os.scandir(path) as entries:
            frames = [entry.path for entry in entries if _is_frame(entry)]
    except OSError as error:
        raise MediaError(f"{printable(path)} cannot be read: {error.strerror}.") from None
    return sorted(frames, key=_natural_order)


def _is_frame(entry: os.DirEntry[str]) -> bool:
    """What cannot be looked into (no permission, a link to itself) goes by its name."""
    named = sniff.suffix(entry.name) in sniff.IMAGE_SUFFIXES
    try:
        if entry.name.startswith(".") or not entry.is_file():
            return False
        return named or sniff.image_format(sniff.read_head(entry.path)) is not None
    except OSError:
        return named


def _natural_order(path: str) -> tuple[list[tuple[bool, int, str]], str]:
    """frame_2 before frame_10; names that differ only in zeros are ordered by letter."""
    parts = re.findall(r"[0-9]+|[^0-9]+", _name(path))
    return [(not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts], path


def _name(path: str) -> str:
    return printable(Path(path).name)
