"""Produce ahead of the consumer: a bounded queue and a thread."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def prefetch(iterable: Iterable[T], depth: int) -> Iterator[T]:
    """The same elements in the same order, up to `depth` of them made ahead in a thread.

    An error of the iterable is raised where its next element would be. Closing the iterator
    stops the thread.
    """
    raise NotImplementedError
