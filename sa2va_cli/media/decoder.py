"""The program that decodes one video file and writes its frames to a pipe.

It runs in a process of its own (see video_file), because decoders hang, crash and leak. Messages
are a line of JSON, then, for a frame, its pixels. It ends when its parent does: that is when the
standard input closes.
"""

import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from sa2va_cli.media.frame_index import FrameIndex, packets_are_frames, read_index
from sa2va_cli.media.frames import Request, VideoInfo, resized_note
from sa2va_cli.media.numbering import Numbering
from sa2va_cli.media.streams import (
    THREADS,
    UndecodableError,
    frames_of,
    open_stream,
    packets_of,
    stamp_of,
)
from sa2va_cli.media.turn import Turn

MAX_PIXELS = 2**28
# decord decodes ahead without limit when its frames are not fetched fast enough, and a model never
# does (https://github.com/dmlc/decord/issues/208): it only gets clips that fit into memory whole.
DECORD_BYTES = 64 * 2**20
# Beside its own DECORDError, which is none of these.
_DECORD_ERRORS = (RuntimeError, IndexError, StopIteration, ValueError, AssertionError)
SEEK_BEYOND = 250  # frames: decoding fewer costs less than opening the file twice
ALIVE_SECONDS = 0.5  # between two signs of life: small beside the least time limit
DECORD_SKIP = 16  # frames that decord passes over between two looks at the clock


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
    index = read_index(path, pipe.send_alive)
    first, turn, interlaced = _first_frame(path, pipe)
    if interlaced:
        index = read_index(path, pipe.send_alive, decoding=True)
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
    fits_decord = first.nbytes * len(index.times) <= DECORD_BYTES and not interlaced
    # decord rotates, but knows no mirroring, which a first frame of one colour would not show. It
    # tells no times of frames: only where there is one for each packet do they have their numbers.
    plain = request.use_decord and fits_decord and turn == Turn()
    if plain and packets_are_frames(path, index, pipe.send_alive):
        reader = _open_decord(path, len(index.times), first)
    if reader is not None:
        wanted = _send_decord(reader, wanted, index, pipe)
        del reader
    if wanted:
        notes.extend(_send_pyav(path, wanted, index, _Output(pipe, first.shape[:2], turn)))
    pipe.send("end", notes=notes)


def _first_frame(path: str, pipe: _Pipe) -> tuple[np.ndarray, Turn, bool]:
    """The first frame that decodes, upright, how it was turned, and if it is H.264's interlaced."""
    container, stream = open_stream(path)
    with container:
        for packet in packets_of(container, stream, pipe.send_alive, []):
            for frame in frames_of(packet):
                if frame.width * frame.height > MAX_PIXELS:
                    raise UndecodableError(f"its frames have {frame.width} x {frame.height} pixels")
                turn = Turn.of(frame)
                interlaced = frame.interlaced_frame and stream.codec_context.name == "h264"
                return turn.apply(frame.to_ndarray(format="rgb24")), turn, interlaced
    raise UndecodableError("not a single frame can be decoded")


def _open_decord(path: str, num_frames: int, first: np.ndarray) -> Any:
    """decord's reader if it sees the same video as PyAV; None if not: nothing is lost."""
    try:
        import decord  # here, so that a broken build of it cannot keep PyAV from working
    except (ImportError, OSError):  # no wheels for this platform, or a library is missing
        return None
    decord.logging.set_level(decord.logging.FATAL)
    try:
        reader = decord.VideoReader(path, num_threads=THREADS)
        frame = reader.next().asnumpy()
        reader.seek(0)
    except (decord.DECORDError, *_DECORD_ERRORS):
        return None
    same = len(reader) == num_frames and frame.shape == first.shape
    return reader if same and np.abs(frame - first.astype(np.int16)).mean() <= 1 else None


def _send_decord(
    reader: Any, wanted: Sequence[int], index: FrameIndex, pipe: _Pipe
) -> Sequence[int]:
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


def _send_pyav(path: str, wanted: Sequence[int], index: FrameIndex, output: _Output) -> list[str]:
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
    path: str, index: FrameIndex, first_wanted: int, pipe: _Pipe, notes: list[str]
) -> Iterator[tuple[int, Any]]:
    """Frames that decode, with their numbers in the file.

    Begins at a key frame before the first wanted one where the file can be trusted with that.
    """
    if first_wanted > SEEK_BEYOND:
        numbered = _decoded(path, index, index.stamps[first_wanted], pipe, notes)
        start = next(numbered, None)
        if start is not None and start[0] <= first_wanted and stamp_of(start[1]) in index.stamps:
            yield start
            yield from numbered
            return
    yield from _decoded(path, index, None, pipe, notes)


def _decoded(
    path: str, index: FrameIndex, seek_to: int | None, pipe: _Pipe, notes: list[str]
) -> Iterator[tuple[int, Any]]:
    container, stream = open_stream(path)
    numbering = Numbering(index)
    with container:
        if seek_to is not None:
            container.seek(seek_to, stream=stream)
        for packet in packets_of(container, stream, pipe.send_alive, notes):
            for frame in frames_of(packet):
                if (number := numbering.number(frame)) is not None:
                    yield number, frame


if __name__ == "__main__":
    main()
