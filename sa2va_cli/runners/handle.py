"""A worker as the supervisor holds it: started, written to, listened to, ended."""

import queue
from collections.abc import Callable
from typing import Protocol

from sa2va_cli.jobs.messages import FromWorker, WorkItem
from sa2va_cli.jobs.worker import WorkerSpec

Events = queue.Queue[tuple[int, FromWorker]]  # which worker, and what it says
EVENTS_WAITING = 64  # then the workers wait for the parent


class Handle(Protocol):
    """One worker. When it has ended, for whatever reason, it says Gone through its events."""

    replaceable: bool  # a process can be killed and replaced; a thread of this process cannot

    def send(self, work: WorkItem) -> None:
        """One more item. A dead worker takes it in silence."""
        ...

    def kill(self) -> None: ...

    def end(self) -> str:
        """Wait for the end of a process, release everything, and say in words how it ended."""
        ...


# (spec, number of the worker, where its messages go) -> the worker, started
StartWorker = Callable[[WorkerSpec, int, Events], Handle]
