"""Find what there is to annotate: files, folders, globs and lists become sorted items.

Nothing is lost in silence: what was named or looks like media but cannot be used is a Problem,
and other files of a folder are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sa2va_cli.config import Prompt
from sa2va_cli.media.item import MediaItem


@dataclass(frozen=True, slots=True)
class GivenPath:
    """A file, folder or glob as the user gave it, with its own prompts if a manifest has them."""

    path: str
    prompts: tuple[Prompt, ...] = ()
    base: str = ""  # folder that a relative path starts from; empty: the working folder


@dataclass(frozen=True, slots=True)
class DiscoverOptions:
    """What to take of that which is found in folders."""

    include: tuple[str, ...] = ()  # globs; empty: everything
    exclude: tuple[str, ...] = ()  # globs; win over include
    frames_as_video: bool = False  # a folder that holds images is one video
    hidden: bool = False  # also names that begin with a dot
    skip_folders: tuple[str, ...] = ()  # never entered: the job's own output


@dataclass(frozen=True, slots=True)
class Problem:
    """A path that was asked for and cannot be used. A job records it as a failure."""

    item_id: str
    path: str
    reason: str  # one sentence a person understands


@dataclass(frozen=True, slots=True)
class Discovery:
    """Everything found, sorted by item_id (by code point, which is the order of UTF-8 bytes)."""

    items: tuple[MediaItem, ...]
    problems: tuple[Problem, ...]
    skipped: int  # files in folders that are no media, are hidden, or were filtered out


def discover(given: Sequence[GivenPath], options: DiscoverOptions = DiscoverOptions()) -> Discovery:
    """Look through all given paths once; opens every file to read its first bytes."""
    raise NotImplementedError
