"""Frames of a video item: its masks frame by frame, and the names that its frames go by."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePath

from sa2va_cli.errors import MediaError
from sa2va_cli.exporters.names import safe_segment
from sa2va_cli.media.frame_folder import frame_paths
from sa2va_cli.media.item import printable
from sa2va_cli.results import ItemResult, MaskRecord, ResultReader


def frames_of(item: ItemResult, results: ResultReader) -> Iterator[tuple[int, list[MaskRecord]]]:
    """(frame_idx, the masks in it) for each frame that was looked at, in order.

    Frames have no rows of their own. Where no object has a mask in them (a video without
    objects, or before the first one was found) they are counted from num_frames.
    """
    filled = _frames_to_fill(item, results)
    due = 0
    groups = groupby(results.masks(item.item_id), key=lambda mask: mask.frame_idx)
    for frame_idx, group in groups:
        yield from ((empty, []) for empty in range(due, min(frame_idx, filled)))
        yield frame_idx, list(group)
        due = frame_idx + 1
    yield from ((empty, []) for empty in range(due, filled))


def _frames_to_fill(item: ItemResult, results: ResultReader) -> int:
    """How many frames from 0 on were looked at; 0 when frames were left out between them,
    because then there is no telling which."""
    last = max((mask.frame_idx for mask in results.masks(item.item_id)), default=-1)
    return item.num_frames if last < item.num_frames else 0


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
    if not Path(path).is_dir():
        return []
    try:
        return [printable(Path(frame).name) for frame in frame_paths(path)]
    except MediaError:
        return []
