"""Answers with masks as files: an overlay and mask PNGs, numbered, nothing ever overwritten."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sa2va_cli.cli.medium import Medium
from sa2va_cli.exporters import ExportOptions, overlay, png, video
from sa2va_cli.exporters.files import OutputFolder, cannot_write, marked_output
from sa2va_cli.exporters.names import item_file, item_folder
from sa2va_cli.exporters.one_item import OneItem
from sa2va_cli.results import Answer, MaskRecord

OPTIONS = ExportOptions(adds=True)  # one answer after the other, into one folder


@dataclass(frozen=True, slots=True)
class Saved:
    """Where the masks of an answer lie."""

    overlay: Path | None  # a picture or a clip; None if the original could not be read again
    masks: Path | None  # a folder; None if what was pointed at is not there
    notes: tuple[str, ...]


class AnswerFolder:
    """overlays/answer-001.overlay.png (or .mp4), masks/answer-001/obj_001_…png, and so on."""

    def __init__(self, root: Path, medium: Medium) -> None:
        self.root = root
        self._medium = medium

    def save(self, asked: str, answer: Answer, masks: Sequence[MaskRecord]) -> Saved:
        """Raises JobError if it cannot be written."""
        marked_output(self.root)
        item_id = self._claim()
        item = self._medium.answered(item_id, asked, asked, answer)
        results = OneItem(item, lambda _: iter(masks))
        is_video = self._medium.kind == "video"
        exporter = video.OverlayVideoExporter if is_video else overlay.OverlayExporter
        pictures = png.MaskPngExporter(OPTIONS).export(results, self.root)
        drawn = exporter(OPTIONS).export(results, self.root)
        suffix = video.SUFFIX if is_video else overlay.SUFFIX
        picture = self.root.joinpath(overlay.FOLDER, *item_file(item_id, suffix))
        folder = self.root.joinpath(png.FOLDER, *item_folder(item_id))
        return Saved(
            picture if drawn.count else None, folder if pictures.count else None, drawn.notes
        )

    def _claim(self) -> str:
        """A new answer's id: its folder of masks is made, so that nobody else takes it."""
        masks = OutputFolder(self.root).folder(png.FOLDER)
        number = self._last_number() + 1
        while not _made(masks.joinpath(*item_folder(f"answer-{number:03d}"))):
            number += 1  # another process has made it, just now
        return f"answer-{number:03d}"

    def _last_number(self) -> int:
        """The highest of all answers that lie there, of this session or an earlier one."""
        used = [0]
        for folder in (png.FOLDER, overlay.FOLDER):
            for path in (self.root / folder).glob("answer-*"):
                if match := re.match(r"answer-(\d+)", path.name):
                    used.append(int(match[1]))
        return max(used)


def _made(folder: Path) -> bool:
    """False if it is there already."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    except OSError as error:
        raise cannot_write(folder, error) from error
    return True
