"""Links from a page on disk to the files around it."""

import os
from pathlib import Path
from urllib.parse import quote_from_bytes

from sa2va_cli.media.sniff import image_format, read_head

SHOWN = {"JPEG", "PNG"}  # GIF and WebP may move: their first frame was annotated


def url_of(segments: tuple[str, ...]) -> str:
    return "/".join(quote_from_bytes(os.fsencode(segment), safe="") for segment in segments)


def relative_url(path: str, folder: Path) -> str:
    """From a page in `folder` to a file anywhere on the same disk, percent-encoded."""
    there = os.path.relpath(Path(path).absolute(), folder)
    return url_of(Path(there).parts)


def browser_shows(path: str) -> bool:
    """Every browser shows it, as one picture, turned as we turn it."""
    return image_format(read_head(path)) in SHOWN
