"""Encode pictures in threads, with few of them in memory at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sa2va_cli.resources import available_memory, usable_cores

FEW_THREADS, MOST_THREADS = 8, 32
PICTURE_BYTES = 2**30  # a picture of the largest size with all its masks: each thread may hold one
Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def map_in_threads(
    work: Callable[[Task], Outcome], tasks: Iterable[Task], workers: int
) -> Iterator[Outcome]:
    """Outcomes in the order of tasks; `tasks` is drawn only a little ahead of them.

    Pillow, zlib and OpenCV let go of the interpreter's lock while they work. An error in one
    task ends the rest. 0 workers: one for each core, as far as memory goes.
    """
    workers = workers or threads_that_fit()
    pending: deque[Future[Outcome]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="sa2va-export")
    try:
        for task in tasks:
            pending.append(pool.submit(work, task))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def threads_that_fit() -> int:
    by_memory = max(FEW_THREADS, available_memory() // PICTURE_BYTES)
    return min(usable_cores(), by_memory, MOST_THREADS)
