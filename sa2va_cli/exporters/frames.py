"""Frames of a video item: its masks frame by frame, and the names that its frames go by."""

import os
from collections.abc import Iterator
from itertools import chain, groupby
from pathlib import Path, PurePath

from sa2va_cli.errors import MediaError
from sa2va_cli.exporters.names import safe_segment
from sa2va_cli.media.frame_folder import frame_paths
from sa2va_cli.media.item import printable
from sa2va_cli.results import ItemResult, MaskRecord, ResultReader


def frames_of(item: ItemResult, results: ResultReader) -> Iterator[tuple[int, list[MaskRecord]]]:
    """(frame_idx, the masks in it) for each frame that was looked at, in order.

    Frames without any mask (before the first object was found, while all are out of sight) are
    known from the item. Results that do not tell its frames have those with masks.
    """
    looked_at = chain.from_iterable(run.numbers for run in item.frames)
    groups = groupby(results.masks(item.item_id), key=lambda mask: mask.frame_idx)
    for frame_idx, group in groups:
        for empty in looked_at:
            if empty >= frame_idx:
                break
            yield empty, []
        yield frame_idx, list(group)
    yield from ((empty, []) for empty in looked_at)


class FrameNames:
    """`00012` for frame 12 of a video file; a folder of frames keeps its own files' names."""

    def __init__(self, item: ItemResult) -> None:
        files = _frame_files(item.path)
        stems = [safe_segment(PurePath(name).stem) for name in files]
        alike = len(set(stems)) < len(stems)  # 1.jpg and 1.png: numbers tell them apart
        self._files, self._stems = ([], []) if alike else (files, stems)

    def stem(self, frame_idx: int) -> str:
        """A name for files of ours, unique in its video."""
        return self._stems[frame_idx] if frame_idx < len(self._stems) else f"{frame_idx:05d}"

    def file(self, frame_idx: int) -> str:
        """The name of the frame itself; of a video file's frame, what it would be as a picture."""
        return self._files[frame_idx] if frame_idx < len(self._files) else f"{frame_idx:05d}.jpg"


def _frame_files(path: str) -> list[str]:
    """Empty for a video file, and for a folder that is no longer there."""
    if not os.path.isdir(path):
        return []
    try:
        return [printable(Path(frame).name) for frame in frame_paths(path)]
    except MediaError:
        return []
