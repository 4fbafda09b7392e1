"""Produce ahead of the consumer: a bounded queue and a thread."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def prefetch(iterable: Iterable[T], depth: int) -> Iterator[T]:
    """The same elements in the same order, up to `depth` of them made ahead in one thread.

    The thread starts with the first `next`. An error of the iterable is raised where its next
    element would be. Closing the iterator waits for the element in the making, closes the
    iterable in its thread, and ends the thread.
    """
    iterator, end = iter(iterable), object()
    with ThreadPoolExecutor(1, "prefetch") as thread:
        pending: deque[Any] = deque(
            thread.submit(next, iterator, end) for _ in range(max(depth, 1))
        )
        try:
            while (element := pending.popleft().result()) is not end:
                pending.append(thread.submit(next, iterator, end))
                yield element
        finally:
            for future in pending:
                future.cancel()
            if hasattr(iterator, "close"):
                thread.submit(iterator.close)
