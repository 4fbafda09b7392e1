"""Writing output files: whole or not at all, and only inside the output folder."""

import fcntl
import hashlib
import os
import unicodedata
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sa2va_cli.errors import JobError, JobLockedError
from sa2va_cli.media.item import OUTPUT_MARK


class OutputFolder:
    """A folder that files are written into, and out of which no name and no link leads."""

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True)
            self.root = root.resolve(strict=True)
        except OSError as error:
            raise cannot_write(root, error) from error
        self._known: set[Path] = set()  # folders that were made and checked, for speed
        self._named = array("Q")  # eight bytes for each file: there may be millions

    def path(self, *segments: str) -> Path:
        """Path of a file below the root; its folders are made. Raises JobError on a way out."""
        path = self.root.joinpath(*segments)
        if path.parent not in self._known:
            self._make_folder(path.parent)
        self._named.append(_digest(path))
        return path

    def folder(self, *segments: str) -> Path:
        return self.path(*segments, "_").parent

    def written(self) -> "Written":
        """The files that `path` has named so far."""
        return Written(self._named)

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            resolved = folder.resolve(strict=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        if not resolved.is_relative_to(self.root):
            raise JobError(
                f"{folder} leads out of the output folder, to {resolved}.",
                hint="remove the link, or give another output folder",
            )
        if len(self._known) >= 10_000:  # one folder an item: do not keep them all
            self._known.clear()
        self._known.add(folder)


class Written:
    """The files that an export has named, as digests: `path in written`."""

    def __init__(self, digests: "array[int]") -> None:
        self._digests = np.unique(np.array(digests, dtype=np.uint64))

    def __contains__(self, path: Path) -> bool:
        digest = np.uint64(_digest(path))
        place = int(np.searchsorted(self._digests, digest))
        return place < len(self._digests) and bool(self._digests[place] == digest)


def _digest(path: Path) -> int:
    """The same for names that some disk takes for one: of other case, or otherwise composed."""
    name = unicodedata.normalize("NFC", str(path)).casefold()
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def marked_output(root: Path) -> Path:
    """Makes a folder whose pictures no later job takes for inputs; its real path. Raises JobError.

    One in which there is something already stays without the mark, which would hide that, too.
    """
    folder = OutputFolder(root).root
    try:
        with os.scandir(folder) as entries:
            empty = next(entries, None) is None
        if empty:
            (folder / OUTPUT_MARK).touch()
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """One export at a time in a folder: temporary names are always the same ones.

    Raises JobLockedError. It falls with the process and leaves no file. Disks that know no such
    lock let everybody in; job folders have a better one.
    """
    try:
        claim = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        with suppress(OSError):
            _claim(claim, folder)
        yield
    finally:
        os.close(claim)


def _claim(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JobLockedError(
            f"Another export is writing into {folder}.",
            hint="wait for it, or give another output folder",
        ) from None


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is complete and on the disk.

    Raises JobError when it cannot be written. The temporary name is always the same one, so
    that a run after a kill overwrites what the killed one left: there must be a sole writer.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    opened = _open(temporary, path)
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)  # what is complete has its own name by now


def open_temporary(path: Path) -> BinaryIO:
    """A new empty file to write and read; a link that lies in its place is not followed."""
    return _open(path, path)


def _open(path: Path, wanted: Path) -> BinaryIO:
    """`wanted` is what the user knows it by."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.fdopen(os.open(path, flags, 0o666), "w+b")
    except OSError as error:
        raise cannot_write(wanted, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    with atomic_file(path) as file:
        file.write(data)


def cannot_write(path: Path, error: OSError) -> JobError:
    """What to raise when the disk refuses."""
    return JobError(
        f"Cannot write {path}: {error.strerror or error}.",
        hint="is the disk full, or the folder write-protected? The same command starts again",
    )
