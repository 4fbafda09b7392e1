"""Lists of paths that other programs write: lines, NUL-separated names, JSON-lines manifests."""

from pathlib import Path
from typing import BinaryIO

from sa2va_cli.media.discover import GivenPath


def read_paths(stream: BinaryIO, nul: bool = False) -> list[GivenPath]:
    """Paths from standard input or a --files-from file, one a line, or NUL after each."""
    raise NotImplementedError


def read_manifest(path: Path) -> list[GivenPath]:
    """One JSON object a line: {"path": …, "prompts": ["the dog", "car=the red car"]}.

    Relative paths start from the manifest's folder. Raises UsageError naming the line.
    """
    raise NotImplementedError
