"""A single item as results: for what looks at one at a time, or has no store behind it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sa2va_cli.results import Failure, ItemResult, MaskRecord


@dataclass(frozen=True, slots=True)
class OneItem:
    """A ResultReader of one item."""

    item: ItemResult
    masks_of: Callable[[str], Iterator[MaskRecord]]  # by item_id, in a reader's order

    def items(self) -> Iterator[ItemResult]:
        return iter((self.item,))

    def masks(self, item_id: str) -> Iterator[MaskRecord]:
        return self.masks_of(item_id)

    def failures(self) -> Iterator[Failure]:
        return iter(())
