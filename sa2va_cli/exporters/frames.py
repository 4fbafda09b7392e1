"""Frames of a video item: its masks frame by frame, and the names that its frames go by."""

from collections.abc import Iterator
from itertools import groupby

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
    """`00012` for the twelfth frame of a video file; a folder of frames keeps its files' names."""

    def __init__(self, item: ItemResult) -> None:
        self._names = _frame_files(item)

    def __getitem__(self, frame_idx: int) -> str:
        if frame_idx < len(self._names):
            return self._names[frame_idx]
        return f"{frame_idx:05d}"


def _frame_files(item: ItemResult) -> list[str]:
    return []
