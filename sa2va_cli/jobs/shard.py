"""Which items are this machine's, when several share a job by hand."""

import zlib
from collections.abc import Iterable
from typing import Protocol, TypeVar

from sa2va_cli.config import Shard


class _Named(Protocol):
    @property
    def item_id(self) -> str: ...


Item = TypeVar("Item", bound=_Named)


def in_shard(items: Iterable[Item], shard: Shard | None) -> list[Item]:
    """The items of one shard. An item's shard hangs on its id alone: new files move no old one."""
    if shard is None:
        return list(items)
    return [item for item in items if shard_of(item.item_id, shard.count) == shard.number]


def shard_of(item_id: str, count: int) -> int:
    """1 … count, evenly spread."""
    return zlib.crc32(item_id.encode("utf-8", "surrogateescape")) % count + 1
