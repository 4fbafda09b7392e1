"""Produce ahead of the consumer: a bounded queue and some threads."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")
_END: Any = object()
_NOTHING: Any = object()


def prefetch(iterable: Iterable[T], depth: int) -> Iterator[T]:
    """The same elements in the same order, up to `depth` of them made ahead in one thread.

    The thread starts with the first `next`. An error of the iterable is raised where its next
    element would be. Closing the iterator waits for the element in the making, closes the
    iterable in its thread, and ends the thread.
    """
    return prefetch_made(iterable, _itself, depth)


def prefetch_made(
    iterable: Iterable[S], make: Callable[[S], T], depth: int, threads: int = 1
) -> Iterator[T]:
    """What is made of each element, in order, up to `depth` ahead, several at a time.

    Errors and closing are as for `prefetch`; an error of `make` is raised where what it failed to
    make would be. The iterable is closed in one of the threads.
    """
    ahead = _Ahead(iterable, make, depth, threads)
    try:
        while (element := ahead.take()) is not _END:
            yield element
    finally:
        ahead.close()


def prefetch_batches(
    iterable: Iterable[S],
    make: Callable[[S], T],
    joins: Callable[[T], bool],
    size: int,
    threads: int = 1,
) -> Iterator[list[T]]:
    """The same in lists: of one, and with those behind it that are made already, up to `size`.

    Only what `joins` is true of shares a list. Nobody waits for a list to fill up; while one is
    used, the next is made.
    """
    ahead = _Ahead(iterable, make, max(size, threads), threads)
    try:
        element = ahead.take()
        while element is not _END:
            batch, element = [element], _NOTHING
            while joins(batch[0]) and len(batch) < size and ahead.is_made():
                element = ahead.take()
                if element is _END or not joins(element):
                    break
                batch.append(element)
                element = _NOTHING
            yield batch
            element = ahead.take() if element is _NOTHING else element
    finally:
        ahead.close()


class _Ahead(Generic[S, T]):
    """Some threads, and what they are to make next, in order."""

    def __init__(
        self, iterable: Iterable[S], make: Callable[[S], T], depth: int, threads: int
    ) -> None:
        self._iterator = iter(iterable)
        self._make = make
        self._pool = ThreadPoolExecutor(threads, "prefetch")
        self._turn = threading.Event()  # set when the thread before has its element
        self._turn.set()
        self._pending: deque[Future[Any]] = deque()
        for _ in range(max(depth, 1)):
            self._submit()

    def take(self) -> Any:
        """The next one, _END behind the last, or its error."""
        element = self._pending[0].result()
        self._pending.popleft()
        if element is not _END:
            self._submit()
        return element

    def is_made(self) -> bool:
        """Whether the next one is there already, without an error, which waits for its place."""
        future = self._pending[0]
        return future.done() and future.exception() is None

    def close(self) -> None:
        # The last first: each waits for the one before it, which must not be cancelled meanwhile.
        wait([future for future in reversed(self._pending) if not future.cancel()])
        if hasattr(self._iterator, "close"):
            self._pool.submit(self._iterator.close)
        self._pool.shutdown()

    def _submit(self) -> None:
        mine, self._turn = self._turn, threading.Event()
        self._pending.append(self._pool.submit(self._next, mine, self._turn))

    def _next(self, mine: threading.Event, after: threading.Event) -> Any:
        """Elements are taken one by one, as no iterator bears two threads, then worked on."""
        mine.wait()  # its thread runs: a pool begins what it is given in order
        try:
            element = next(self._iterator, _END)
        finally:
            after.set()
        return element if element is _END else self._make(element)


def _itself(element: T) -> T:
    return element
