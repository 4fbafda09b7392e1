"""A JSON object that is too large for memory: its lists are written entry by entry."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sa2va_cli.exporters.files import atomic_file, open_temporary
from sa2va_cli.exporters.numbers import dump_json


class JsonDocument:
    """Lists grow side by side, each in its own file beside the output; `finish` joins them."""

    def __init__(self, spools: dict[str, BinaryIO]) -> None:
        self._spools = spools
        self.counts = dict.fromkeys(spools, 0)

    def append(self, name: str, entry: dict[str, Any]) -> None:
        """Add one entry to the list `name`, on a line of its own."""
        self.append_chunks(name, (dump_json(entry),))

    def append_chunks(self, name: str, chunks: Iterable[str]) -> None:
        """Add one entry that is too large for memory: its JSON comes in pieces."""
        spool = self._spools[name]
        spool.write(b",\n" if self.counts[name] else b"\n")
        for chunk in chunks:
            spool.write(chunk.encode("ascii"))
        self.counts[name] += 1

    def write_to(self, file: BinaryIO, head: dict[str, Any]) -> None:
        """Write `{head…, list, list, …}`."""
        parts = [
            f"{dump_json(key)}:{dump_json(value)}".encode("ascii") for key, value in head.items()
        ]
        file.write(b"{" + b",\n".join(parts))
        for name, spool in self._spools.items():
            file.write(f',\n"{name}":['.encode("ascii"))
            spool.seek(0)
            shutil.copyfileobj(spool, file, 1 << 16)
            file.write(b"\n]")
        file.write(b"}\n")


@contextmanager
def json_document(
    path: Path, lists: tuple[str, ...], head: dict[str, Any]
) -> Iterator[JsonDocument]:
    """Fill the lists inside the `with`; the file appears, complete, when it ends without error."""
    names = [path.with_name(f".{path.name}.{name}.tmp") for name in lists]
    try:
        with ExitStack() as stack:
            file = stack.enter_context(atomic_file(path))
            spools = [stack.enter_context(open_temporary(name)) for name in names]
            document = JsonDocument(dict(zip(lists, spools, strict=True)))
            yield document
            document.write_to(file, head)
    finally:
        for name in names:
            name.unlink(missing_ok=True)
