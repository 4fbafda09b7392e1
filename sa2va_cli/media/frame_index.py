"""All frames of a video file and their times, learned before any of them is wanted."""

import math
from array import array
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


def read_index(path: str, send_alive: Callable[[], None], decoding: bool = False) -> FrameIndex:
    """Count the frames and learn when each is shown.

    H.264's interlaced pictures may be two fields, each a packet of its own: only `decoding` tells.
    Raises UndecodableError where there are none.
    """
    read_stamps = _stamps_of_frames if decoding else _stamps_of_packets
    container, stream = open_stream(path)
    with container:
        stamps = read_stamps(container, stream, send_alive)
        if not stamps.shown:
            raise UndecodableError("it holds no frames")
        rate = float(stream.average_rate) if stream.average_rate else None
        # A bare stream of pictures tells a rate at best.
        base = 1 / (rate or BARE_STREAM_FPS) if stamps.untimed else stream.time_base
        begin = max(0.0, float(stamps.shown[0] * base))
        declared = None if decoding else stream.frames or None  # the header counts packets
        lasting = None if declared else _declared_duration(container, stream, begin)
    times = array("d", (float((stamp - stamps.shown[0]) * base) for stamp in stamps.shown))
    fps = _frame_rate(times, rate)
    duration = _duration(times, float((stamps.end - stamps.shown[0]) * base), fps)
    return FrameIndex(stamps.shown, stamps.decoded, times, duration, declared, lasting, fps)


def _declared_duration(container: Any, stream: Any, begin: float) -> float | None:
    """Seconds of the video stream, as the header tells them: Matroska counts no frames.

    Its seconds count from zero, also where the first frame is shown later: at `begin`.
    """
    if stream.duration:
        return float(stream.duration * stream.time_base)
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - begin
    except ValueError:  # there is no such tag
        alone = container.duration and len(container.streams) == 1  # sound may last longer
        return container.duration / av.time_base - begin if alone else None


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
        frames = _unfinished_frames(container, stream, send_alive)
        told = [(stamp_of(frame), (frame.width, frame.height)) for frame in frames]
    stamps, sizes = [stamp for stamp, _ in told], {size for _, size in told}
    timely = None in stamps or stamps == list(index.stamps)
    return timely and len(stamps) == len(index.stamps) and len(sizes) == 1


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


def _duration(times: Sequence[float], end: float, fps: float | None) -> float:
    """Seconds to the end of the last frame: as it is told, or by the rate."""
    if end > times[-1]:
        return end
    return times[-1] + (1 / fps if fps else 0.0)


def _frame_rate(times: Sequence[float], declared: float | None) -> float | None:
    """The declared rate where the frames agree with it to 1 %, else their true average."""
    if len(times) < 2 or times[-1] <= 0:
        return declared
    average = (len(times) - 1) / times[-1]
    return declared if declared and abs(declared / average - 1) < 0.01 else average
