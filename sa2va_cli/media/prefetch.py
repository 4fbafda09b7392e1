"""Produce ahead of the consumer: a bounded queue and a thread."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.1  # how soon a producer that waits for room sees that nobody wants more


def prefetch(iterable: Iterable[T], depth: int) -> Iterator[T]:
    """The same elements in the same order, up to `depth` of them made ahead in a thread.

    The thread starts with the first `next`. An error of the iterable is raised where its next
    element would be. Closing the iterator, or dropping it, stops the thread.
    """
    producer = _Producer(iterable, depth)
    try:
        yield from producer.elements()
    finally:
        producer.stop()


class _Producer(Generic[T]):
    """Runs the iterable in a thread. Only this thread touches it, also to close it."""

    def __init__(self, iterable: Iterable[T], depth: int) -> None:
        self.queue: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(max(depth, 1))
        self.unwanted = threading.Event()
        self.thread = threading.Thread(target=self._produce, args=(iterable,), daemon=True)
        self.thread.start()

    def elements(self) -> Iterator[T]:
        while (made := self.queue.get()) is not None:
            if isinstance(made, BaseException):
                raise made
            yield made[0]

    def stop(self) -> None:
        self.unwanted.set()
        self.thread.join()

    def _produce(self, iterable: Iterable[T]) -> None:
        iterator = iter(iterable)
        end: BaseException | None = None
        try:
            for element in iterator:
                if not self._put((element,)):
                    break
        except BaseException as error:  # noqa: BLE001, it is raised again in the consumer
            end = error
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
        self._put(end)

    def _put(self, made: tuple[T] | BaseException | None) -> bool:
        """Wait for room; False when nobody wants more."""
        while not self.unwanted.is_set():
            try:
                self.queue.put(made, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False
