"""Encode pictures in threads, with few of them in memory at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sa2va_cli.cores import usable_cores

MOST_THREADS = 8  # each may hold a picture of the largest size with all its masks
Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def map_in_threads(
    work: Callable[[Task], Outcome], tasks: Iterable[Task], workers: int
) -> Iterator[Outcome]:
    """Outcomes in the order of tasks; `tasks` is drawn only a little ahead of them.

    Pillow, zlib and OpenCV let go of the interpreter's lock while they work. An error in one
    task ends the rest. 0 workers: one for each core, up to MOST_THREADS.
    """
    workers = workers or min(MOST_THREADS, usable_cores())
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
