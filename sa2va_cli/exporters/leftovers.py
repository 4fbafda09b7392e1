"""What earlier exports left in a folder: files that the same export into an empty one has not."""

import os
import re
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from sa2va_cli.exporters.base import ExportOptions
from sa2va_cli.exporters.files import OutputFolder, Written, cannot_write

HEAD_BYTES = 256
ANSWERS = r"answer-\d+[./]"  # begins what `chat` and `ask` have put beside: no export of theirs


@dataclass(frozen=True, slots=True)
class Kind:
    """Files that one exporter writes and nobody else would; only these are ever removed."""

    folder: tuple[str, ...]  # below the output folder
    path: str  # pattern of the whole path below that folder, with "/"
    head: bytes = b""  # pattern of the first bytes, where people keep files of such names
    links: bool = False  # links to files, and no files


def remove_leftovers(folder: OutputFolder, options: ExportOptions, *kinds: Kind) -> tuple[str, ...]:
    """Remove files of these kinds that `folder` did not name in this export; a note if any were.

    Files that could not be written anew (the original is gone) were named, and stay. Links to
    folders are not followed. Raises JobError.
    """
    if options.adds:
        return ()
    written = folder.written()
    removed = 0
    for kind in kinds:
        top = folder.root.joinpath(*kind.folder)
        if top.is_dir() and top.resolve().is_relative_to(folder.root):
            try:
                removed += _Sweep(folder.root, kind, written).of(top, "")
            except OSError as error:
                raise cannot_write(top, error) from error
    return (f"files of an earlier export removed: {removed}",) if removed else ()


class _Sweep:
    """Goes through a folder of any size with only what is to go in memory."""

    def __init__(self, root: Path, kind: Kind, written: Written) -> None:
        self._root, self._kind, self._written = root, kind, written
        self._path, self._head = re.compile(kind.path), re.compile(kind.head)

    def of(self, folder: Path, place: str) -> int:
        """`place` is the folder's path below the kind's, "" or with "/" at its end."""
        removed = 0
        stale: list[Path] = []
        emptied: list[Path] = []
        for entry in _entries(folder):
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                if count := self.of(path, f"{place}{entry.name}/"):
                    removed += count
                    emptied.append(path)
            elif self._is_stale(entry, path, place + entry.name):
                stale.append(path)
        for path in stale:
            path.unlink()
        for path in emptied:
            with suppress(OSError):  # something else is in it
                path.rmdir()
        return removed + len(stale)

    def _is_stale(self, entry: os.DirEntry[str], path: Path, place: str) -> bool:
        if entry.name[0] == "." or not self._path.fullmatch(place):
            return False  # names that begin with a dot are being written
        if self._kind.links:
            ours = entry.is_symlink() and not path.is_dir()
        else:
            ours = entry.is_file(follow_symlinks=False)
        return ours and path not in self._written and self._has_head(path)

    def _has_head(self, path: Path) -> bool:
        if not self._kind.head:
            return True
        with path.open("rb") as file:
            return bool(self._head.match(file.read(HEAD_BYTES)))


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with closing(os.scandir(folder)) as entries:
        yield from entries
