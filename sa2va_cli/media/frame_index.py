"""All frames of a video file and their times, learned before any of them is wanted."""

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import av

from sa2va_cli.media.streams import UndecodableError, frames_of, open_stream, packets_of, stamp_of

BARE_STREAM_FPS = 25.0  # where not even a rate is told; what players take

# When frames are shown, in order, and when the last one's time is over, in ticks of the stream, if
# that is told; and whether nothing told a time, so that frames were numbered instead.
_Stamps = tuple[array, float, bool]


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """All frames of a file, in the order of presentation."""

    stamps: array  # "q", presentation stamps in units of the time base
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
        stamps, end, untimed = read_stamps(container, stream, send_alive)
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
    return FrameIndex(stamps, times, duration, declared, lasting, fps)


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
    stamps, untimed, latest, lasting = array("q"), 0, -math.inf, 0
    for packet in packets_of(container, stream, send_alive, []):
        if packet.is_discard:
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        if packet.size:
            untimed += stamp is None
            stamps.append(len(stamps) if stamp is None else stamp)
        if stamp is not None:  # of empty packets, too: they make the frame before last longer
            latest, lasting = max(latest, stamp), packet.duration or 0
    return array("q", sorted(stamps)), latest + lasting, untimed == len(stamps)


def _stamps_of_frames(container: Any, stream: Any, send_alive: Callable[[], None]) -> _Stamps:
    """Everything is decoded, but for the pixels, which are left unfinished."""
    stream.codec_context.options = {"skip_idct": "all", "skip_loop_filter": "all"}
    packets = packets_of(container, stream, send_alive, [])
    told = [stamp_of(frame) for packet in packets for frame in frames_of(packet)]
    stamps = sorted(at if stamp is None else stamp for at, stamp in enumerate(told))
    return array("q", stamps), max(stamps, default=0), told.count(None) == len(told)


def _frame_rate(times: Sequence[float], declared: float | None) -> float | None:
    """The declared rate where the frames agree with it to 1 %, else their true average."""
    if len(times) < 2 or times[-1] <= 0:
        return declared
    average = (len(times) - 1) / times[-1]
    return declared if declared and abs(declared / average - 1) < 0.01 else average
