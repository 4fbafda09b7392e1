"""The program that decodes one video file and writes its frames to a pipe.

It runs in a process of its own (see video_file), because decoders hang, crash and leak. Messages
are a line of JSON, then, for a frame, its pixels. It ends when its parent does: that is when the
standard input closes.
"""

import json
import math
import os
import signal
import sys
import threading
import time
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from sa2va_cli.media.frames import Request, VideoInfo, resized_note
from sa2va_cli.media.turn import Turn

THREADS = 2  # a decoder beside each worker: more would take the cores from each other
MAX_PIXELS = 2**28
# decord decodes ahead without limit when its frames are not fetched fast enough, and a model never
# does (https://github.com/dmlc/decord/issues/208): it only gets clips that fit into memory whole.
DECORD_BYTES = 64 * 2**20
_ATTACHED_PIC = 0x400  # the cover of an album is no video
# Beside its own DECORDError, which is none of these.
_DECORD_ERRORS = (RuntimeError, IndexError, StopIteration, ValueError, AssertionError)
SEEK_BEYOND = 250  # frames: decoding fewer costs less than opening the file twice
BARE_STREAM_FPS = 25.0  # where not even a rate is told; what players take
ALIVE_SECONDS = 0.5  # between two signs of life: small beside the least time limit
DECORD_SKIP = 16  # frames that decord passes over between two looks at the clock


class UndecodableError(Exception):
    """There is nothing to decode; the message says why."""


@dataclass(frozen=True, slots=True)
class _Index:
    """All frames of a file, in the order of presentation, found by reading packets only."""

    stamps: array  # "q", presentation stamps in units of the time base
    times: array  # "d", seconds from the first frame
    duration: float  # seconds from the first frame to the end of the last one
    declared: int | None
    declared_duration: float | None  # asked only where no number of frames is declared
    fps: float | None


class _Pipe:
    """The way to the parent."""

    def __init__(self) -> None:
        self.file = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
        os.dup2(2, 1)  # whatever a library prints must not end up between the messages
        self._alive_at = time.monotonic()

    def send_alive(self) -> None:
        """A sign of life, if it is time for one: for everything that may take long."""
        if time.monotonic() - self._alive_at >= ALIVE_SECONDS:
            self.send("alive")
            self._alive_at = time.monotonic()

    def send(self, kind: str, **fields: Any) -> None:
        self.file.write(json.dumps({"kind": kind, **fields}).encode() + b"\n")
        self.file.flush()

    def send_frame(self, frame_idx: int, time: float, pixels: np.ndarray) -> None:
        shape = {"height": pixels.shape[0], "width": pixels.shape[1]}
        self.file.write(
            json.dumps({"kind": "frame", "idx": frame_idx, "time": time, **shape}).encode() + b"\n"
        )
        self.file.write(np.ascontiguousarray(pixels).data)
        self.file.flush()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too: the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    av.logging.set_level(None)
    request = Request.from_json(sys.argv[1])
    pipe = _Pipe()
    try:
        _decode(request, pipe)
    except UndecodableError as error:
        pipe.send("error", reason=str(error))
    except BrokenPipeError:  # the parent wants no more
        os._exit(1)


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin: a thread that waits in it aborts an interpreter that ends
        pass
    os._exit(1)


def _decode(request: Request, pipe: _Pipe) -> None:
    path = str(Path(request.path).absolute())  # a name like "concat:x" must not become a protocol
    index = _read_index(path, pipe)
    first, turn = _first_frame(path, pipe)
    sampled = request.sampling.select(index.times)
    info = VideoInfo(
        width=first.shape[1],
        height=first.shape[0],
        fps=index.fps,
        duration=index.duration,
        declared_frames=index.declared,
        declared_duration=index.declared_duration,
        num_frames=len(index.times),
        selected=tuple(request.sampling.span(index.times, sampled)),
        sampled=tuple(sampled),
    )
    told_once = {} if request.sampling.between else {"sampled": None}  # lists of a long video
    pipe.send("info", info=asdict(info) | told_once)
    wanted: Sequence[int] = info.selected[request.skip :]
    notes = [turn.note] if turn.note else []
    reader = None
    fits_decord = first.nbytes * len(index.times) <= DECORD_BYTES
    # decord rotates, but knows no mirroring, which a first frame of one colour would not show.
    if request.use_decord and fits_decord and turn == Turn():
        reader, note = _open_decord(path, len(index.times), first)
        notes.extend(note)
    if reader is not None:
        wanted = _send_decord(reader, wanted, index, pipe)
        del reader
    if wanted:
        notes.extend(_send_pyav(path, wanted, index, _Output(pipe, first.shape[:2], turn)))
    pipe.send("end", notes=notes)


def _open_video(path: str) -> tuple[Any, Any]:
    """The container and its main video stream."""
    try:
        container = av.open(path, metadata_errors="replace", options={"protocol_whitelist": "file"})
    except (av.error.FFmpegError, OSError) as error:
        raise UndecodableError(f"it does not open: {error.strerror or error}") from None
    streams = [s for s in container.streams.video if not s.disposition & _ATTACHED_PIC]
    if streams:
        stream = container.streams.best("video") or streams[0]
        stream.thread_type = "AUTO"
        stream.thread_count = THREADS
        return container, stream if stream in streams else streams[0]
    if container.streams.audio:
        raise UndecodableError("it has no video stream, only sound")
    raise UndecodableError("it has no video stream")


def _read_index(path: str, pipe: _Pipe) -> _Index:
    """Count the frames and learn when each is shown, without decoding any."""
    container, stream = _open_video(path)
    with container:
        stamps, end, untimed = _read_stamps(container, stream, pipe)
        declared, base = stream.frames or None, stream.time_base
        lasting = None if declared else _declared_duration(container, stream)
        rate = float(stream.average_rate) if stream.average_rate else None
    if not stamps:
        raise UndecodableError("it holds no frames")
    if untimed:  # a bare stream of pictures tells a rate at best
        base = 1 / (rate or BARE_STREAM_FPS)
    times = array("d", (float((stamp - stamps[0]) * base) for stamp in stamps))
    fps = _frame_rate(times, rate)
    told = float((end - stamps[0]) * base)
    duration = told if told > times[-1] else times[-1] + (1 / fps if fps else 0.0)
    return _Index(stamps, times, duration, declared, lasting, fps)


def _declared_duration(container: Any, stream: Any) -> float | None:
    """Seconds of the video stream, as the header tells them: Matroska counts no frames."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:  # there is no such tag
        alone = container.duration and len(container.streams) == 1  # sound may last longer
        return container.duration / av.time_base if alone else None


def _read_stamps(container: Any, stream: Any, pipe: _Pipe) -> tuple[array, float, bool]:
    """When frames are shown, in order, and when the last one's time is over, in ticks of the
    stream; and whether no packet told a time, so that frames were numbered instead."""
    stamps, untimed, latest, lasting = array("q"), 0, -math.inf, 0
    for packet in _packets(container, stream, pipe, []):
        if packet.is_discard:
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        if packet.size:
            untimed += stamp is None
            stamps.append(len(stamps) if stamp is None else stamp)
        if stamp is not None:  # of empty packets, too: they make the frame before last longer
            latest, lasting = max(latest, stamp), packet.duration or 0
    return array("q", sorted(stamps)), latest + lasting, untimed == len(stamps)


def _frame_rate(times: Sequence[float], declared: float | None) -> float | None:
    """The declared rate where the frames agree with it to 1 %, else their true average."""
    if len(times) < 2 or times[-1] <= 0:
        return declared
    average = (len(times) - 1) / times[-1]
    return declared if declared and abs(declared / average - 1) < 0.01 else average


def _packets(container: Any, stream: Any, pipe: _Pipe, notes: list[str]) -> Iterator[Any]:
    """The packets of a stream. Others show that the reader is alive, too: a file may hold gigabytes
    of sound after its last picture."""
    for packet in _all_packets(container, notes):
        pipe.send_alive()
        if packet.stream is stream:
            yield packet


def _all_packets(container: Any, notes: list[str]) -> Iterator[Any]:
    """Up to the end or to the place where the file is broken."""
    try:
        yield from container.demux()
    except (av.error.FFmpegError, OSError) as error:
        notes.append(f"the file is broken off: {error.strerror or error}")


def _first_frame(path: str, pipe: _Pipe) -> tuple[np.ndarray, Turn]:
    """The first frame that decodes, upright, and how it was turned."""
    container, stream = _open_video(path)
    with container:
        for packet in _packets(container, stream, pipe, []):
            for frame in _frames_of(packet):
                if frame.width * frame.height > MAX_PIXELS:
                    raise UndecodableError(f"its frames have {frame.width} x {frame.height} pixels")
                turn = Turn.of(frame)
                return turn.apply(frame.to_ndarray(format="rgb24")), turn
    raise UndecodableError("not a single frame can be decoded")


def _frames_of(packet: Any) -> list[Any]:
    """The frames that come out when a packet goes in; none for a broken packet."""
    try:
        return list(packet.decode())
    except (av.error.FFmpegError, OSError):
        return []


def _open_decord(path: str, num_frames: int, first: np.ndarray) -> tuple[Any, list[str]]:
    """decord's reader if it sees the same video as PyAV; None and perhaps a note if not."""
    try:
        import decord  # here, so that a broken build of it cannot keep PyAV from working
    except (ImportError, OSError):  # no wheels for this platform, or a library is missing
        return None, []
    decord.logging.set_level(decord.logging.FATAL)
    try:
        reader = decord.VideoReader(path, num_threads=THREADS)
        frame = reader.next().asnumpy()
        reader.seek(0)
    except (decord.DECORDError, *_DECORD_ERRORS):
        return None, []  # PyAV opens it: nothing is lost
    if len(reader) != num_frames:
        return None, [f"read with PyAV, because decord sees {len(reader)} frames of {num_frames}"]
    same = frame.shape == first.shape and np.abs(frame - first.astype(np.int16)).mean() <= 1
    return (reader, []) if same else (None, [])


def _send_decord(reader: Any, wanted: Sequence[int], index: _Index, pipe: _Pipe) -> Sequence[int]:
    """Send what decord decodes; returns the frames that it has left."""
    from decord import DECORDError  # it has loaded: the reader is decord's

    at = 0
    for done, frame_idx in enumerate(wanted):
        try:
            while at < frame_idx:
                step = min(frame_idx - at, DECORD_SKIP)
                reader.skip_frames(step)
                at += step
                pipe.send_alive()
            pixels = reader.next().asnumpy()
        except (DECORDError, *_DECORD_ERRORS):
            return wanted[done:]
        at += 1
        pipe.send_frame(frame_idx, index.times[frame_idx], pixels)
    return ()


@dataclass(frozen=True, slots=True)
class _Output:
    """Where frames go, and how they look there."""

    pipe: _Pipe
    shape: tuple[int, int]  # height and width
    turn: Turn

    def pixels(self, frame: Any) -> tuple[np.ndarray, bool]:
        """Upright, in the size of the first frame; and whether it had to be resized."""
        height, width = self.shape[::-1] if self.turn.transpose else self.shape
        resized = (frame.height, frame.width) != (height, width)
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
        return self.turn.apply(pixels), resized


def _send_pyav(path: str, wanted: Sequence[int], index: _Index, output: _Output) -> list[str]:
    """Send what PyAV decodes; returns what the reader should know about it."""
    notes: list[str] = []
    remaining, resized = deque(wanted), 0
    for frame_idx, frame in _numbered_frames(path, index, wanted[0], output.pipe, notes):
        while remaining and remaining[0] < frame_idx:
            remaining.popleft()  # it was broken
        if not remaining:
            break
        if frame_idx == remaining[0]:
            pixels, other_size = output.pixels(frame)
            output.pipe.send_frame(remaining.popleft(), index.times[frame_idx], pixels)
            resized += other_size
    if resized:
        notes.append(resized_note(resized))
    return notes


def _numbered_frames(
    path: str, index: _Index, first_wanted: int, pipe: _Pipe, notes: list[str]
) -> Iterator[tuple[int, Any]]:
    """Frames that decode, with their numbers in the file, which their time stamps tell.

    Begins at a key frame before the first wanted one where the file can be trusted with that.
    """
    if first_wanted > SEEK_BEYOND:
        numbered = _decoded(path, index, index.stamps[first_wanted], pipe, notes)
        start = next(numbered, None)
        if start is not None and start[0] <= first_wanted and _stamp(start[1]) in index.stamps:
            yield start
            yield from numbered
            return
    yield from _decoded(path, index, None, pipe, notes)


def _decoded(
    path: str, index: _Index, seek_to: int | None, pipe: _Pipe, notes: list[str]
) -> Iterator[tuple[int, Any]]:
    container, stream = _open_video(path)
    last = -1
    with container:
        if seek_to is not None:
            container.seek(seek_to, stream=stream)
        for packet in _packets(container, stream, pipe, notes):
            for frame in _frames_of(packet):
                stamp = _stamp(frame)
                found = last + 1 if stamp is None else bisect_left(index.stamps, stamp)
                last = max(found, last + 1)
                if last < len(index.times):
                    yield last, frame


def _stamp(frame: Any) -> int | None:
    return frame.pts if frame.pts is not None else frame.dts


if __name__ == "__main__":
    main()
