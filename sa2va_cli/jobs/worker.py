"""The worker: a process with one model, which does one item after another until told to stop.

What is wrong with an item is sent as Failed, and the worker goes on. Any other error ends the
process, after it was sent as Crashed: the supervisor starts a new one.
"""

import faulthandler
import gc
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from sa2va_cli.errors import Sa2vaError
from sa2va_cli.jobs.annotate import ItemAnnotator, Send
from sa2va_cli.jobs.annotator import Annotator, Loader
from sa2va_cli.jobs.lifeline import ignore_terminal, leave_with_parent, tie_to_parent
from sa2va_cli.jobs.messages import (
    Begun,
    CannotLoad,
    Crashed,
    Failed,
    FromWorker,
    Ready,
    WorkItem,
)
from sa2va_cli.jobs.opened import Asking, Opened, OpenedImage, Opener, Unopened, in_one_line
from sa2va_cli.media.prefetch import prefetch

ITEMS_AHEAD = 1  # opened items that wait for the model


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """All that a worker needs to know. It is pickled on its way."""

    device: str
    load: Loader
    asking: Asking
    threads: int  # processor cores that it may use; set before it starts
    log_path: Path  # what libraries print
    parent_pid: int


def worker_main(spec: WorkerSpec, connection: Connection) -> None:
    """The whole life of a worker's process."""
    ignore_terminal()
    tie_to_parent(spec.parent_pid)
    _print_into(spec.log_path)
    send = PipeEnd(connection).send
    threading.excepthook = lambda args: _crash(send, args.exc_value)
    try:
        serve(spec, _received(connection), send)
    finally:
        sys.stderr.flush()
        os._exit(0)  # threads that wait for a file or for the parent would hold up a plain return


def serve(spec: WorkerSpec, items: Iterator[WorkItem], send: Send) -> None:
    """Load the model, then do all items. Also runs in a thread of the parent (runners.local)."""
    with LastWords(send) as words:
        annotator = _load(spec, send)
        if annotator is None:
            return
        opener = Opener(spec.asking)
        work = ItemAnnotator(annotator, opener.task, spec.asking.video_options, send)
        # Held by a name: at an error it would be closed before the last words, and closing waits
        # for the next item.
        ahead = prefetch(_open_all(opener, items, send), ITEMS_AHEAD)
        for opened in ahead:
            words.item = opened.work.item
            _do(opened, work, send)
            words.item = None
        work.finish()


def _do(opened: Opened, work: ItemAnnotator, send: Send) -> None:
    try:
        if isinstance(opened, Unopened):
            send(Failed(opened.work.item, opened.reason))
        elif isinstance(opened, OpenedImage):
            work.image(opened)
        else:
            work.video(opened)
    except Sa2vaError as error:
        send(Failed(opened.work.item, in_one_line(error)))
    except _out_of_memory() as error:
        reason = in_one_line(error) or "no memory left on this machine"
        send(Failed(opened.work.item, f"Out of memory: {reason}"))
        del error
        _free_memory()


def _open_all(opener: Opener, items: Iterator[WorkItem], send: Send) -> Iterator[Opened]:
    for work in items:
        send(Begun(work.item))
        yield opener.open(work)


def _load(spec: WorkerSpec, send: Send) -> Annotator | None:
    started = time.monotonic()
    try:
        annotator = spec.load(spec.device)
    except Sa2vaError as error:
        send(CannotLoad(in_one_line(error), final=True))
        return None
    except _out_of_memory() as error:
        send(CannotLoad(f"the model does not fit into the memory of {spec.device}: {error}", False))
        return None
    send(Ready(time.monotonic() - started))
    return annotator


class LastWords:
    """Tells the supervisor which error ends this worker, and over which item."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.item: int | None = None

    def __enter__(self) -> "LastWords":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._send(Crashed(self.item, _reason(error)))


class PipeEnd:
    """The worker's end of its pipe, for several threads. Without a parent, the process ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: FromWorker) -> None:
        try:
            with self._lock:
                self._connection.send(message)
        except OSError:
            leave_with_parent()


def _received(connection: Connection) -> Iterator[WorkItem]:
    """Items as they come; a thread waits for them, and for the end of the parent."""
    inbox: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()

    def receive() -> None:
        try:
            while True:
                inbox.put(connection.recv())
        except (EOFError, OSError):
            leave_with_parent()

    threading.Thread(target=receive, name="receive", daemon=True).start()
    return iter(inbox.get, None)


def _crash(send: Send, error: BaseException | None) -> None:
    """An error in a thread: the worker cannot go on, and nobody else would notice."""
    send(Crashed(None, _reason(error) if error else "a thread ended"))
    os._exit(1)


def _reason(error: BaseException) -> str:
    """One line for people; the whole story goes to the worker's log."""
    traceback.print_exception(error, file=sys.stderr)
    return " ".join(f"{type(error).__name__}: {error}".split())


def _out_of_memory() -> tuple[type[BaseException], ...]:
    """The errors that mean it; torch is asked only if the model has loaded it."""
    torch = sys.modules.get("torch")
    return (MemoryError, torch.OutOfMemoryError) if torch else (MemoryError,)


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _print_into(log_path: Path) -> None:
    """Output of libraries, and of crashes in C code, goes to a file: standard output and the
    terminal belong to the parent."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    faulthandler.enable()
