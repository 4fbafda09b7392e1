"""Workers never outlive their parent: the kernel ends them, and so does the end of their pipe."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
