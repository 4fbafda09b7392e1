"""Originals that are no longer the files that were annotated."""

from pathlib import Path

from sa2va_cli.jobs.reader import StoreReader
from sa2va_cli.media.discover import DiscoverOptions, GivenPath, discover

FRAMES = DiscoverOptions(frames_as_video=True, exclude=("*/",))


def count_changed(results: StoreReader) -> int:
    """Finished items whose files have another length or time than when they were looked at.

    What is gone does not count: formats that need it tell so themselves.
    """
    return sum(
        _state_of(path, is_folder=kind == "frames") not in (None, (size, mtime_ns))
        for path, kind, size, mtime_ns in results.originals()
    )


def _state_of(path: str, *, is_folder: bool) -> tuple[int, int] | None:
    """Length and time, as they were taken when it was found."""
    if is_folder:
        found = discover([GivenPath(path)], FRAMES).items  # also videos that lie in it
        frames = next((one for one in found if one.kind == "frames"), None)
        return (frames.size, frames.mtime_ns) if frames else None
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
