"""The worker: a process with one model, which does one item after another until told to stop.

What is wrong with an item is sent as Failed, and the worker goes on. Any other error ends the
process, after it was sent as Crashed: the supervisor starts a new one.
"""

import faulthandler
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from sa2va_cli.errors import Sa2vaError
from sa2va_cli.jobs.annotate import EncodingStoppedError, ItemAnnotator
from sa2va_cli.jobs.annotator import Annotator, Loader, PreparingAnnotator
from sa2va_cli.jobs.last_words import LastWords, one_line_of
from sa2va_cli.jobs.lifeline import ignore_terminal, leave_with_parent, tie_to_parent
from sa2va_cli.jobs.messages import (
    Begun,
    CannotLoad,
    Crashed,
    Failed,
    FromWorker,
    Ready,
    Send,
    WorkItem,
)
from sa2va_cli.jobs.opened import (
    Asking,
    Opened,
    OpenedImage,
    OpenedVideo,
    Opener,
    Unopened,
    in_one_line,
)
from sa2va_cli.jobs.out_of_memory import ERRORS, is_out_of_memory
from sa2va_cli.prefetch import prefetch_batches


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """All that a worker needs to know. It is pickled on its way."""

    device: str
    load: Loader
    asking: Asking
    threads: int  # processor cores that it may use; set before it starts
    log_path: Path  # what libraries print
    parent_pid: int
    batch_size: int = 1  # images that the model may see at a time
    openers: int = 1  # threads that open items ahead of the model


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
    with LastWords(send) as words, suppress(EncodingStoppedError):
        annotator = _load(spec, send)
        if annotator is None:
            return
        prepare = annotator.prepare if isinstance(annotator, PreparingAnnotator) else _as_it_is
        opener = Opener(spec.asking, prepare, spec.openers)
        work = ItemAnnotator(annotator, opener.task, spec.asking.video_options, send)
        # Held by a name: at an error it would be closed before the last words, and closing waits
        # for the next item.
        open_one = partial(_open, opener, send)
        ahead = prefetch_batches(items, open_one, _is_image, spec.batch_size, spec.openers)
        for batch in ahead:
            words.item = batch[0].work.item if len(batch) == 1 else None
            _do(batch, work, send)
            words.item = None
        work.finish()


def _is_image(opened: Opened) -> bool:
    return isinstance(opened, OpenedImage)


def _do(batch: list[Opened], work: ItemAnnotator, send: Send) -> None:
    """One item of any kind, or several images."""
    first = batch[0]
    if isinstance(first, Unopened):
        send(Failed(first.work.item, first.reason))
        return
    try:
        if isinstance(first, OpenedVideo):
            work.video(first)
        else:
            work.images([one for one in batch if isinstance(one, OpenedImage)])
    except Sa2vaError as error:
        if len(batch) > 1:  # one of them is to blame
            for one in batch:
                _do([one], work, send)
        else:
            send(Failed(first.work.item, in_one_line(error)))


def _open(opener: Opener, send: Send, work: WorkItem) -> Opened:
    send(Begun(work.item))
    return opener.open(work)


def _as_it_is(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _load(spec: WorkerSpec, send: Send) -> Annotator | None:
    started = time.monotonic()
    try:
        annotator = spec.load(spec.device)
    except Sa2vaError as error:
        send(CannotLoad(in_one_line(error), final=True))
        return None
    except ERRORS as error:
        if not is_out_of_memory(error):
            raise
        send(CannotLoad(f"the model does not fit into the memory of {spec.device}: {error}", False))
        return None
    send(Ready(time.monotonic() - started))
    return annotator


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
    inbox: queue.SimpleQueue[WorkItem] = queue.SimpleQueue()

    def receive() -> None:
        try:
            while True:
                inbox.put(connection.recv())
        except (EOFError, OSError):
            leave_with_parent()

    threading.Thread(target=receive, name="receive", daemon=True).start()
    return iter(inbox.get, None)  # without end: None never comes


def _crash(send: Send, error: BaseException | None) -> None:
    """An error in a thread: the worker cannot go on, and nobody else would notice."""
    send(Crashed(None, one_line_of(error) if error else "a thread ended"))
    os._exit(1)


def _print_into(log_path: Path) -> None:
    """Output of libraries, and of crashes in C code, goes to a file: standard output and the
    terminal belong to the parent."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    faulthandler.enable()
