"""Workers never outlive their parent: the kernel ends them, and so does the end of their pipe."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1
TERMINAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def tie_to_parent(parent_pid: int) -> None:
    """Call first in the worker. The other half is `leave_with_parent` at the end of the pipe."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the line above
        leave_with_parent()


def leave_with_parent() -> None:
    """At once: nobody is left to take a result."""
    os._exit(1)


def ignore_terminal() -> None:
    """Ctrl-C and a hang-up reach the whole process group; the parent alone decides."""
    for number in TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TERMINAL)  # forgets those that wait; see below


@contextmanager
def terminal_held_back() -> Iterator[None]:
    """A process that is started in here hears nothing of these before it calls `ignore_terminal`:
    to import what it needs takes seconds. Our own wait until the end of this."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
