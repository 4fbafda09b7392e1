"""One input of a job: where it lies, what it is, and the name it keeps for ever."""

import os
from dataclasses import dataclass
from typing import Literal

from sa2va_cli.config import Prompt
from sa2va_cli.results import MediaKind

OUTPUT_MARK = ".sa2va-output"  # a folder that holds this file was made by us: no input
ItemKind = Literal["image", "video", "frames"]


@dataclass(frozen=True, slots=True)
class MediaItem:
    """An image, a video file, or a folder of frames that is treated as a video.

    `item_id` is unique in a job, printable as UTF-8, "/" between folders, without "..", "." or
    empty parts and never absolute: joined to a folder, it stays in that folder.
    """

    item_id: str
    path: str  # to open it; names that are not UTF-8 keep their bytes (os.fsencode gives them)
    kind: ItemKind
    size: int  # bytes; of all frames together for a folder
    mtime_ns: int  # of the newest frame for a folder
    prompts: tuple[Prompt, ...] = ()  # from a manifest; empty: the prompts of the job
    regions: str = ""  # changes when the regions to ask about do; empty: none

    @property
    def media_kind(self) -> MediaKind:
        return "image" if self.kind == "image" else "video"


def printable(path: str) -> str:
    """A path as valid unicode: bytes that are not UTF-8 are spelt %FF. For ids, logs and JSON."""
    data = os.fsencode(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(
            f"%{ord(letter) - 0xDC00:02X}" if "\udc80" <= letter <= "\udcff" else letter
            for letter in data.decode("utf-8", "surrogateescape")
        )
