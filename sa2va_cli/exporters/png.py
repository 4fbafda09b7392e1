"""Mask PNGs: one black and white picture for each mask, in the size of the oriented image."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.files import OutputFolder, write_bytes
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.leftovers import ANSWERS, Kind, remove_leftovers
from sa2va_cli.exporters.names import frame_name, item_folder, object_name
from sa2va_cli.exporters.parallel import map_in_threads
from sa2va_cli.masks import Rle, decode_rle, rle_area
from sa2va_cli.results import ItemResult, ResultReader

FOLDER = "masks"
MASKS = Kind((FOLDER,), rf"(?!{ANSWERS}).+/obj_\d+[^/]*(/frame_\d+)?\.png")


@dataclass(frozen=True, slots=True)
class _MaskFile:
    path: Path
    rle: Rle


class MaskPngExporter:
    """masks/<item>/obj_001_car.png for images, masks/<item>/obj_001_car/frame_000000.png for
    videos: 8 bits, 0 or 255.

    An image's empty mask has no file; a video's has a black one, so that no frame is missing.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        count = sum(
            map_in_threads(_write_mask, _mask_files(results, folder), self._options.workers)
        )
        notes = remove_leftovers(folder, self._options, MASKS)
        return Exported(folder.folder(FOLDER), count, "mask pictures", notes)


def mask_png(mask: np.ndarray) -> bytes:
    """(H, W) bool -> PNG, mode L, 0 and 255."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _write_mask(file: _MaskFile) -> int:
    write_bytes(file.path, mask_png(decode_rle(file.rle)))
    return 1


def _mask_files(results: ResultReader, folder: OutputFolder) -> Iterator[_MaskFile]:
    for item in results.items():
        yield from _item_files(item, results, folder)


def _item_files(
    item: ItemResult, results: ResultReader, folder: OutputFolder
) -> Iterator[_MaskFile]:
    segments = (FOLDER, *item_folder(item.item_id))
    names = {record.obj_id: object_name(record.obj_id, record.category) for record in item.objects}
    for mask in results.masks(item.item_id):
        name = names[mask.obj_id]
        if item.kind == "video":
            name = f"{name}/{frame_name(mask.frame_idx)}"
        elif not rle_area(mask.rle):
            continue
        yield _MaskFile(folder.path(*segments, *f"{name}.png".split("/")), mask.rle)
