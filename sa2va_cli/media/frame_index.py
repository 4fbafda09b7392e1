"""All frames of a video file and their times, learned before any of them is wanted."""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import av

from sa2va_cli.media.streams import UndecodableError, frames_of, open_stream, packets_of, stamp_of

BARE_STREAM_FPS = 25.0  # where not even a rate is told; what players take
_VP8_SHOWN = 0x10  # in a frame's first byte (RFC 6386, 9.1); others are there to be referred to


class _Stamps(NamedTuple):
    """In ticks of the stream."""

    shown: array  # "q", when frames are shown, in order
    decoded: array  # "q", when they are decoded, in order, as far as that is told
    end: float  # when the last one's time is over, if that is told
    untimed: bool  # nothing told a time: frames were numbered instead


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """All frames of a file, in the order of presentation."""

    stamps: array  # "q", presentation stamps in units of the time base
    decode_stamps: array  # "q", in order, as far as they are told: most of them, or none
    times: array  # "d", seconds from the first frame
    duration: float  # seconds from the first frame to the end of the last one
    declared: int | None
    declared_duration: float | None  # asked only where no number of frames is declared
    fps: float | None


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


def read_index(path: str, send_alive: Callable[[], None], decoding: bool = False) -> FrameIndex:
    """Count the frames and learn when each is shown.

    H.264's interlaced pictures may be two fields, each a packet of its own: only `decoding` tells.
    Raises UndecodableError where there are none.
    """
    read_stamps = _stamps_of_frames if decoding else _stamps_of_packets
    container, stream = open_stream(path)
    with container:
        stamps, decode_stamps, end, untimed = read_stamps(container, stream, send_alive)
        declared = None if decoding else stream.frames or None  # the header counts packets
        base = stream.time_base
        begin = float(stamps[0] * base) if stamps and base else 0.0
        lasting = None if declared else _declared_duration(container, stream, begin)
        rate = float(stream.average_rate) if stream.average_rate else None
    if not stamps:
        raise UndecodableError("it holds no frames")
    if untimed:  # a bare stream of pictures tells a rate at best
        base = 1 / (rate or BARE_STREAM_FPS)
    times = array("d", (float((stamp - stamps[0]) * base) for stamp in stamps))
    fps = _frame_rate(times, rate)
    told = float((end - stamps[0]) * base)
    duration = told if told > times[-1] else times[-1] + (1 / fps if fps else 0.0)
    return FrameIndex(stamps, decode_stamps, times, duration, declared, lasting, fps)


def _declared_duration(container: Any, stream: Any, begin: float) -> float | None:
    """Seconds of the video stream, as the header tells them: Matroska counts no frames.

    Its seconds count from zero, also where the first frame is shown later: at `begin`.
    """
    if stream.duration:
        return float(stream.duration * stream.time_base)
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - max(begin, 0)
    except ValueError:  # there is no such tag
        alone = container.duration and len(container.streams) == 1  # sound may last longer
        return container.duration / av.time_base - max(begin, 0) if alone else None


def _stamps_of_packets(container: Any, stream: Any, send_alive: Callable[[], None]) -> _Stamps:
    """One packet is one frame: nothing is decoded."""
    shown, decoded, untimed, latest, lasting = array("q"), array("q"), 0, -math.inf, 0
    hides_frames = stream.codec_context.name == "vp8"
    for packet in packets_of(container, stream, send_alive, []):
        hidden = hides_frames and packet.size and not memoryview(packet)[0] & _VP8_SHOWN
        if packet.is_discard or hidden:
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        if packet.size:
            untimed += stamp is None
            shown.append(len(shown) if stamp is None else stamp)
            if packet.dts is not None:
                decoded.append(packet.dts)
        if stamp is not None:  # of empty packets, too: they make the frame before last longer
            latest, lasting = max(latest, stamp), packet.duration or 0
    shown, decoded = array("q", sorted(shown)), array("q", sorted(decoded))
    return _Stamps(shown, decoded, latest + lasting, untimed == len(shown))


def packets_are_frames(path: str, index: FrameIndex, send_alive: Callable[[], None]) -> bool:
    """Whether each packet of an index made from packets gives one frame, all of one size."""
    container, stream = open_stream(path)
    with container:
        told = [
            (stamp_of(frame), frame.width, frame.height)
            for frame in _unfinished_frames(container, stream, send_alive)
        ]
    stamps = [stamp for stamp, _, _ in told]
    if len(stamps) != len(index.stamps) or len({size[1:] for size in told}) > 1:
        return False
    return None in stamps or stamps == list(index.stamps)


def _stamps_of_frames(container: Any, stream: Any, send_alive: Callable[[], None]) -> _Stamps:
    frames = _unfinished_frames(container, stream, send_alive)
    told = [(stamp_of(frame), frame.dts) for frame in frames]
    shown = array("q", sorted(at if stamp is None else stamp for at, (stamp, _) in enumerate(told)))
    decoded = array("q", sorted(dts for _, dts in told if dts is not None))
    untimed = all(stamp is None for stamp, _ in told)
    return _Stamps(shown, decoded, max(shown, default=0), untimed)


def _unfinished_frames(
    container: Any, stream: Any, send_alive: Callable[[], None]
) -> Iterator[Any]:
    """All frames as they come out, for which the decoder spares itself what it can."""
    stream.codec_context.options = {"skip_idct": "all", "skip_loop_filter": "all"}
    for packet in packets_of(container, stream, send_alive, []):
        yield from frames_of(packet)


def _frame_rate(times: Sequence[float], declared: float | None) -> float | None:
    """The declared rate where the frames agree with it to 1 %, else their true average."""
    if len(times) < 2 or times[-1] <= 0:
        return declared
    average = (len(times) - 1) / times[-1]
    return declared if declared and abs(declared / average - 1) < 0.01 else average
