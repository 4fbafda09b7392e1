"""A worker in a thread of this process: for debuggers, and where processes cannot be started."""

import queue
import threading

from sa2va_cli.jobs.messages import FromWorker, Gone, WorkItem
from sa2va_cli.jobs.worker import WorkerSpec, serve
from sa2va_cli.runners.handle import Events


def start(spec: WorkerSpec, number: int, events: Events) -> "ThreadHandle":
    return ThreadHandle(spec, number, events)


class ThreadHandle:
    """It cannot be killed: an item that hangs, hangs the run."""

    replaceable = False

    def __init__(self, spec: WorkerSpec, number: int, events: Events) -> None:
        self._inbox: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._serve, args=(spec, number, events), name=f"worker-{number}", daemon=True
        )
        self._thread.start()

    def send(self, work: WorkItem) -> None:
        self._inbox.put(work)

    def kill(self) -> None:
        self._inbox.put(None)

    def end(self) -> str:
        self._inbox.put(None)
        return "the worker's thread ended"

    def _serve(self, spec: WorkerSpec, number: int, events: Events) -> None:
        def send(message: FromWorker) -> None:
            events.put((number, message))

        try:
            serve(spec, iter(self._inbox.get, None), send)
        finally:
            send(Gone())
