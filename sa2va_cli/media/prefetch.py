"""Produce ahead of the consumer: a bounded queue and a thread."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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


def prefetch_batches(
    iterable: Iterable[T], size: int, joins: Callable[[T], bool]
) -> Iterator[list[T]]:
    """The same in lists: of one, and with those behind it that are made already, up to `size`.

    Only elements that `joins` is true of share a list. Nobody waits for a list to fill up.
    """
    iterator, end, nothing = iter(iterable), object(), object()
    with ThreadPoolExecutor(1, "prefetch") as thread:
        pending: deque[Any] = deque(thread.submit(next, iterator, end) for _ in range(size))

        def take() -> Any:
            element = pending.popleft().result()
            if element is not end:
                pending.append(thread.submit(next, iterator, end))
            return element

        try:
            element = take()
            while element is not end:
                batch, element = [element], nothing
                while joins(batch[0]) and len(batch) < size and _is_made(pending[0]):
                    element = take()
                    if element is end or not joins(element):
                        break
                    batch.append(element)
                    element = nothing
                yield batch
                element = take() if element is nothing else element
        finally:
            for future in pending:
                future.cancel()
            if hasattr(iterator, "close"):
                thread.submit(iterator.close)


def _is_made(future: "Future[Any]") -> bool:
    """Without an error, which is raised where its element would be."""
    return future.done() and future.exception() is None
