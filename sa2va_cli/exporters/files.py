"""Writing output files: whole or not at all, and only inside the output folder."""

import fcntl
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sa2va_cli.errors import JobError, JobLockedError


class OutputFolder:
    """A folder that files are written into, and out of which no name and no link leads."""

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True)
            self.root = root.resolve(strict=True)
        except OSError as error:
            raise _cannot_write(root, error) from error
        self._known: set[Path] = set()  # folders that were made and checked, for speed

    def path(self, *segments: str) -> Path:
        """Path of a file below the root; its folders are made. Raises JobError on a way out."""
        path = self.root.joinpath(*segments)
        if path.parent not in self._known:
            self._make_folder(path.parent)
        return path

    def folder(self, *segments: str) -> Path:
        return self.path(*segments, "_").parent

    def remove_stale(self, segments: tuple[str, ...], pattern: str, keep: set[str]) -> None:
        """Remove what an earlier export left in an item's folder: files that are no more.

        `keep` holds paths relative to the folder, with "/". Links to folders are not followed,
        and names that begin with a dot are being written.
        """
        folder = self.root.joinpath(*segments)
        if not folder.is_dir() or not folder.resolve().is_relative_to(self.root):
            return
        try:
            for path in sorted(folder.glob(pattern)):
                if path.relative_to(folder).as_posix() not in keep and path.name[0] != ".":
                    _remove_file(path, folder)
        except OSError as error:
            raise _cannot_write(folder, error) from error

    def remove_outdated(self, *segments: str) -> None:
        """Remove one file of an earlier export, if it is there."""
        *folders, name = segments
        self.remove_stale(tuple(folders), glob.escape(name), keep=set())

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            resolved = folder.resolve(strict=True)
        except OSError as error:
            raise _cannot_write(folder, error) from error
        if not resolved.is_relative_to(self.root):
            raise JobError(
                f"{folder} leads out of the output folder, to {resolved}.",
                hint="remove the link, or give another output folder",
            )
        if len(self._known) >= 10_000:  # one folder an item: do not keep them all
            self._known.clear()
        self._known.add(folder)


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """One export at a time in a folder: temporary names are always the same ones.

    Raises JobLockedError. It falls with the process and leaves no file. Disks that know no such
    lock let everybody in; job folders have a better one.
    """
    try:
        claim = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _cannot_write(folder, error) from error
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
        raise _cannot_write(path, error) from error
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
        raise _cannot_write(wanted, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    with atomic_file(path) as file:
        file.write(data)


def _remove_file(path: Path, folder: Path) -> None:
    """And the folder that it was in, when it was the last one there."""
    if path.parent != folder and path.parent.is_symlink():
        return
    if path.is_symlink() or path.is_file():
        path.unlink()
        if path.parent != folder and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _cannot_write(path: Path, error: OSError) -> JobError:
    return JobError(
        f"Cannot write {path}: {error.strerror or error}.",
        hint="is the disk full, or the folder write-protected? The same command starts again",
    )
