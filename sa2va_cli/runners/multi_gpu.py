"""Workers as processes, one for each device or more, each with a pipe of its own.

No queue is shared: a process that is killed while it holds a shared lock would stop all others.
The spawn context is torch.multiprocessing's, by its own name: torch hands on the standard
library's (a test holds it to that), and importing torch costs the parent 3 s and 170 MB.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

from sa2va_cli.errors import JobError
from sa2va_cli.glibc import keep_memory
from sa2va_cli.jobs.lifeline import terminal_held_back
from sa2va_cli.jobs.messages import Gone, WorkItem
from sa2va_cli.jobs.worker import WorkerSpec, worker_main
from sa2va_cli.runners.handle import Events

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TORCHINDUCTOR_COMPILE_THREADS",  # processes, in fact: --compile
)
# Python's janitor of semaphores would complain, on the user's terminal, about those that
# libraries left in a worker that was killed. It removes them all the same.
NO_COMPLAINTS = "ignore:::multiprocessing.resource_tracker"
END_SECONDS = 5.0
LISTEN_SECONDS = 0.5  # to read what a dead worker said last


def start(spec: WorkerSpec, number: int, events: Events) -> "ProcessHandle":
    return ProcessHandle(spec, number, events)


class ProcessHandle:
    """A spawned process; a thread of ours reads its pipe, so that none can hold up the others."""

    replaceable = True

    def __init__(self, spec: WorkerSpec, number: int, events: Events) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=worker_main, args=(spec, theirs), name=f"sa2va-{spec.device}-{number}"
        )
        try:
            with _environment(spec):
                resource_tracker.ensure_running()  # its own start would let the signals through
                with terminal_held_back():
                    self._process.start()
        except OSError as error:
            raise JobError(
                f"Cannot start a worker on {spec.device}: {error.strerror}.",
                hint="is there memory left, and room for another process?",
            ) from error
        theirs.close()  # the worker has the only other end: its death is the end of the pipe
        self._listener = threading.Thread(
            target=_listen, args=(self._pipe, number, events), name=f"listen-{number}", daemon=True
        )
        self._listener.start()

    def send(self, work: WorkItem) -> None:
        with suppress(OSError):  # it is dead, and Gone is on its way
            self._pipe.send(work)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> str:
        self._process.join(END_SECONDS)
        if self._process.exitcode is None:  # it closed its pipe, yet lives
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        self._listener.join(LISTEN_SECONDS)
        if not self._listener.is_alive():  # closed under its hands, a pipe raises anything
            self._pipe.close()
        self._process.close()
        return _in_words(code)


def _listen(pipe: Connection, number: int, events: Events) -> None:
    try:
        while True:
            events.put((number, pipe.recv()))
    except (EOFError, OSError):
        pass
    finally:  # also when a message cannot be held in memory
        events.put((number, Gone()))


def _in_words(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the worker was killed, perhaps for lack of memory"
    if code < 0:
        return f"the worker was ended by {signal.Signals(-code).name}"
    return f"the worker ended with exit code {code}"


@contextmanager
def _environment(spec: WorkerSpec) -> Iterator[None]:
    """What a new process finds, unless the user has decided otherwise.

    Numerical libraries count their threads, and glibc reads its settings, when they are loaded.
    """
    before = dict(os.environ)
    wanted = dict.fromkeys(THREAD_VARIABLES, str(spec.threads))
    if spec.device == "cpu":
        wanted |= keep_memory()
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    warnings = [os.environ.get("PYTHONWARNINGS"), NO_COMPLAINTS]
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, warnings))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
