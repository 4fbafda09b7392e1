"""The main video stream of a file, as PyAV reads it: its packets and its frames."""

from collections.abc import Callable, Iterator
from typing import Any

import av

THREADS = 2  # a decoder beside each worker: more would take the cores from each other
_ATTACHED_PIC = 0x400  # the cover of an album is no video


class UndecodableError(Exception):
    """There is nothing to decode; the message says why."""


def open_stream(path: str) -> tuple[Any, Any]:
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


def packets_of(
    container: Any, stream: Any, send_alive: Callable[[], None], notes: list[str]
) -> Iterator[Any]:
    """The packets of a stream. Others show that the reader is alive, too: a file may hold gigabytes
    of sound after its last picture."""
    for packet in _all_packets(container, notes):
        send_alive()
        if packet.stream is stream:
            yield packet


def _all_packets(container: Any, notes: list[str]) -> Iterator[Any]:
    """Up to the end or to the place where the file is broken."""
    try:
        yield from container.demux()
    except (av.error.FFmpegError, OSError) as error:
        notes.append(f"the file is broken off: {error.strerror or error}")


def frames_of(packet: Any) -> list[Any]:
    """The frames that come out when a packet goes in; none for a broken packet."""
    try:
        return list(packet.decode())
    except (av.error.FFmpegError, OSError):
        return []


def stamp_of(frame: Any) -> int | None:
    """When it is shown, in ticks of its stream."""
    return frame.pts if frame.pts is not None else frame.dts
