"""Ctrl-C and its kin: once to leave in good order, twice to leave at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}


class StopSignals:
    """Before and after the workers' time a signal ends the program with its exit code.

    Inside `gracefully` the first one only sets `requested`; the second ends the program. A hang-up
    that `nohup` has the program ignore stays ignored.
    """

    def __init__(self) -> None:
        self._requested: int | None = None
        self._graceful = False
        self._handled: list[signal.Signals] = []

    def install(self) -> None:
        under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._handled = [n for n in EXIT_CODES if n != signal.SIGHUP or not under_nohup]
        for number in self._handled:
            signal.signal(number, self._handle)

    @property
    def requested(self) -> bool:
        return self._requested is not None

    @property
    def exit_code(self) -> int | None:
        """130 or 143 once a signal has come."""
        return self._requested

    @contextmanager
    def gracefully(self) -> Iterator[None]:
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        code = EXIT_CODES[signal.Signals(number)]
        if self._graceful and not self.requested:
            self._requested = code
            return
        for other in self._handled:  # a third one meets a program that is on its way out: end it
            signal.signal(other, lambda *_: os._exit(code))
        raise SystemExit(code)
