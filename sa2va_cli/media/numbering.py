"""Which frame of a file it is that comes out of a decoder."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from sa2va_cli.media.frame_index import FrameIndex
from sa2va_cli.media.streams import stamp_of


class Numbering:
    """Numbers the frames of a file as they come out of a decoder: in the order of presentation.

    Frames that did not decode leave gaps, which both stamps of the next frame tell. One alone is no
    proof: old formats (WMV, AVI, RealMedia) give B-frames presentation stamps in the order of
    packets, and a decoder that learns how far a stream reorders frames delays them more and more.
    """

    def __init__(self, index: FrameIndex) -> None:
        self._index = index
        self._last = -1
        self._delay: int | None = None  # from packets to frames, in frames

    def number(self, frame: Any) -> int | None:
        """None for one that comes after its time, or behind the last frame of the index."""
        number, decoded = self._last + 1, self._index.decode_stamps
        if (stamp := stamp_of(frame)) is not None:
            first, end = _places(self._index.stamps, stamp)
            if frame.dts is None:  # it comes out behind the last packet: nothing is later
                end = max(end, number)
            elif decoded:
                packet, packet_end = _places(decoded, frame.dts)
                if self._delay is None:
                    self._delay = packet - first
                first, end = min(first, packet - self._delay), max(end, packet_end - self._delay)
            if end < number:
                return None
            number = max(number, first)
        if number >= len(self._index.stamps):
            return None
        self._last = number
        return number


def _places(stamps: Sequence[int], stamp: int) -> tuple[int, int]:
    """The first and the last place where it is, or the one where it would be."""
    first = bisect_left(stamps, stamp)
    return first, max(first, bisect_right(stamps, stamp) - 1)
