"""Overlay PNGs: each image with its masks, outlines, labels and scores drawn over it."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sa2va_cli.errors import MediaError
from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.drawing import Drawn, draw_overlay
from sa2va_cli.exporters.files import OutputFolder, write_bytes
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.labels import Memory
from sa2va_cli.exporters.leftovers import ANSWERS, Kind, remove_leftovers
from sa2va_cli.exporters.names import item_file
from sa2va_cli.exporters.originals import load_original
from sa2va_cli.exporters.parallel import map_in_threads
from sa2va_cli.masks import decode_rle, rle_area
from sa2va_cli.results import ItemResult, MaskRecord, ResultReader

FOLDER = "overlays"
SUFFIX = ".overlay.png"
PICTURES = Kind((FOLDER,), rf"(?!{ANSWERS}overlay).+\.overlay\.png")
MAX_NOTES = 5  # pictures that could not be read, named in the report of an export


@dataclass(frozen=True, slots=True)
class _Task:
    path: Path
    item: ItemResult
    masks: tuple[MaskRecord, ...]


class OverlayExporter:
    """overlays/<item>.overlay.png for each image; the originals must still be where they were."""

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        problems: list[str] = []
        count = 0
        for problem in map_in_threads(_write, _tasks(results, folder), self._options.workers):
            if problem:
                problems.append(problem)
            else:
                count += 1
        notes = shorten(problems) + remove_leftovers(folder, self._options, PICTURES)
        return Exported(folder.folder(FOLDER), count, "overlay pictures", notes)


def item_overlay(
    pixels: np.ndarray,
    item: ItemResult,
    masks: Sequence[MaskRecord],
    memory: Memory | None = None,
) -> np.ndarray:
    """(H, W, 3) uint8 RGB: one frame of an item with its objects. See check_size."""
    check_size(pixels, item)
    return draw_overlay(pixels, drawn_objects(item, masks), not_found(item, masks), memory)


def check_size(pixels: np.ndarray, item: ItemResult) -> None:
    """Raises MediaError when the picture has not the size that was annotated."""
    height, width = pixels.shape[:2]
    if (height, width) != (item.height, item.width):
        raise MediaError(
            f"{item.item_id} is {width} x {height} now and was {item.width} x {item.height} "
            "when it was annotated.",
            hint="annotate it again, or put the original file back",
        )


def drawn_objects(item: ItemResult, masks: Sequence[MaskRecord]) -> list[Drawn]:
    """The objects that are there, in their order; equal labels are told apart by numbers."""
    labels = {record.obj_id: record.label or record.category for record in item.objects}
    alike = Counter(labels.values())

    def text(obj_id: int) -> str:
        return labels[obj_id] + (f" #{obj_id}" if alike[labels[obj_id]] > 1 else "")

    return [
        Drawn(mask.obj_id, decode_rle(mask.rle), text(mask.obj_id), f"{mask.score:.2f}")
        for mask in masks
        if rle_area(mask.rle)
    ]


def not_found(item: ItemResult, masks: Sequence[MaskRecord]) -> list[str]:
    """A line for each label that was looked for and has no mask; only for images."""
    if item.kind == "video":  # lines that come and go with the frames would flicker
        return []
    there = {mask.obj_id for mask in masks if rle_area(mask.rle)}
    labels = {record.label for record in item.objects if record.obj_id in there}
    missing = [r.label for r in item.objects if r.label not in labels]
    return [f"not found: {label}" for label in dict.fromkeys(missing)][:3]


def shorten(problems: list[str]) -> tuple[str, ...]:
    more = len(problems) - MAX_NOTES
    return (*problems[:MAX_NOTES], *((f"… and {more} more",) if more > 0 else ()))


def encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _tasks(results: ResultReader, folder: OutputFolder) -> Iterator[_Task]:
    for item in results.items():
        if item.kind == "image":
            path = folder.path(FOLDER, *item_file(item.item_id, SUFFIX))
            yield _Task(path, item, tuple(results.masks(item.item_id)))


def _write(task: _Task) -> str:
    """An empty string, or why there is no overlay."""
    try:
        pixels = load_original(task.item)
        overlay = item_overlay(pixels, task.item, task.masks)
    except MediaError as error:
        return str(error).splitlines()[0]
    write_bytes(task.path, encode_png(overlay))
    return ""
