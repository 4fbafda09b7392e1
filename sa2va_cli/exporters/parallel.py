"""Encode pictures in threads, with few of them in memory at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def map_in_threads(
    work: Callable[[Task], Outcome], tasks: Iterable[Task], workers: int
) -> Iterator[Outcome]:
    """Outcomes in the order of tasks; `tasks` is drawn only a little ahead of them.

    Pillow, zlib and OpenCV let go of the interpreter's lock while they work. An error in one
    task ends the rest.
    """
    workers = workers or os.cpu_count() or 1
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
