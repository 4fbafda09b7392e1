"""A video file, decoded by a process of its own that can be killed."""

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from sa2va_cli.errors import MediaError
from sa2va_cli.media.frames import Frame, FrameSampling, Request, VideoInfo
from sa2va_cli.media.item import printable

_PACKAGE_ROOT = Path(__file__).parents[2]
_SLICES = 20  # of the time limit
_PIPE_BYTES = 1 << 20  # Linux's default of 64 KiB costs a change of process for each


class VideoFile:
    """See frames.Video. A decoder that dies or hangs is replaced once, by one without decord.

    Frames come through a pipe: when either side is killed, the kernel frees all there was.
    """

    def __init__(self, path: str, sampling: FrameSampling, frame_timeout: float) -> None:
        self._name = printable(path)
        self._request = Request(path, sampling, use_decord=True)
        self._timeout = frame_timeout
        self._notes: dict[str, None] = {}  # in order, each once
        self._waiting: _Decoder | None = _Decoder(self._request, frame_timeout)
        self.info = self._read_info(self._waiting)
        if shortfall := self.info.shortfall():
            self._note(shortfall)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def __iter__(self) -> Iterator[Frame]:
        return self.read(0)

    def read(self, skip: int, missing: int = 0) -> Iterator[Frame]:
        decoder, self._waiting = self._waiting, None
        if decoder is not None and skip:
            decoder.close()
            decoder = None
        if decoder is None:
            decoder = self._restart(replace(self._request, skip=skip))
        count, last = 0, -1
        while True:
            with closing(decoder):
                for frame in decoder.frames():
                    count, last = count + 1, frame.frame_idx
                    yield frame
            self._notes.update(dict.fromkeys(decoder.notes))
            if not decoder.failure or not decoder.request.use_decord:
                break
            self._note(f"{decoder.failure}; read on with PyAV")
            left = max(skip, bisect_right(self.info.selected, last))
            decoder = self._restart(replace(self._request, use_decord=False, skip=left))
        self._settle(skip - missing + count, decoder.failure)

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read_info(self, decoder: "_Decoder") -> VideoInfo:
        """Raises MediaError, with the decoder ended, when there is nothing to decode."""
        message = decoder.message()
        if message is None or message["kind"] != "info":
            decoder.close()
            raise MediaError(f"{self._name} cannot be decoded: {decoder.failure}.")
        fields = message["info"]
        selected = tuple(fields["selected"])
        sampled = selected if fields["sampled"] is None else tuple(fields["sampled"])
        info = VideoInfo(**{**fields, "selected": selected, "sampled": sampled})
        if not info.selected:
            decoder.close()
            raise MediaError(
                f"{self._name} lasts {info.duration:.2f} s: the sampling takes none of its "
                f"{info.num_frames} frames.",
                hint="choose another --start and --end",
            )
        return info

    def _restart(self, request: Request) -> "_Decoder":
        decoder = _Decoder(request, self._timeout)
        self._read_info(decoder)
        return decoder

    def _settle(self, count: int, failure: str) -> None:
        """Tell of what is missing at the end."""
        if count == 0:
            reason = failure or "not a single frame can be decoded"
            raise MediaError(f"{self._name} cannot be decoded: {reason}.")
        if failure:
            self._note(f"decoding stopped: {failure}")
        if missing := len(self.info.selected) - count:
            self._note(f"{missing} of {len(self.info.selected)} frames could not be decoded")

    def _note(self, note: str) -> None:
        self._notes[note] = None


class _Decoder:
    """The process, its messages, and how it ended."""

    def __init__(self, request: Request, timeout: float) -> None:
        self.request = request
        self.failure = ""  # why it ended, unless it ended well
        self.notes: list[str] = []
        self._timeout = timeout
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115, closed by close
        paths = [str(_PACKAGE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            # -P: the working folder is the user's, and no code is to be imported from there
            [sys.executable, "-P", "-m", "sa2va_cli.media.decoder", request.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert self._process.stdout is not None
        self._output = cast(io.BufferedReader, self._process.stdout)
        if sys.platform == "linux":
            _widen(self._output)

    def frames(self) -> Iterator[Frame]:
        """Ends with the last frame, or with `failure` set."""
        while (message := self.message()) is not None:
            if message["kind"] == "frame":
                yield Frame(message["idx"], message["time"], message["pixels"])
            elif message["kind"] == "end":
                self.notes.extend(message["notes"])
                return

    def message(self) -> dict[str, Any] | None:
        """The next message that says something; None, with `failure` set, when there is none.

        A sign of life starts the time limit anew.
        """
        while True:
            heard, expired = threading.Event(), threading.Event()
            threading.Thread(target=self._watch, args=[heard, expired], daemon=True).start()
            try:
                message = self._read()
            finally:
                heard.set()
            if message is None:
                self.failure = self._epitaph(expired.is_set())
            elif message["kind"] == "error":
                self.failure, message = message["reason"], None
            elif message["kind"] == "alive":
                continue
            return message

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def _read(self) -> dict[str, Any] | None:
        line = self._output.readline()
        if not line.endswith(b"\n"):
            return None
        message = json.loads(line)
        if message["kind"] == "frame":
            pixels = np.empty((message["height"], message["width"], 3), np.uint8)
            if self._output.readinto(pixels.data.cast("B")) < pixels.nbytes:
                return None
            message["pixels"] = pixels
        return message

    def _watch(self, heard: threading.Event, expired: threading.Event) -> None:
        """Kill a decoder that was not heard in time.

        In slices, so that a time during which this process itself was stopped, or its machine
        suspended, counts as one slice at most: the decoder could not do anything either.
        """
        for _ in range(_SLICES):
            if heard.wait(self._timeout / _SLICES):
                return
        expired.set()
        self._process.kill()

    def _epitaph(self, expired: bool) -> str:
        """Why there are no more messages."""
        if expired:
            return f"the decoder gave no sign of life for {self._timeout:g} s"
        status = self._process.wait()
        if status < 0:
            return f"the decoder was stopped by signal {-status}"
        self._stderr.seek(0)
        last_line = self._stderr.read()[-300:].decode(errors="replace").strip().split("\n")[-1]
        return f"the decoder ended with status {status} ({last_line})"


def _widen(pipe: Any) -> None:
    import fcntl

    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return  # over the system's limit for this user: slower, that is all
