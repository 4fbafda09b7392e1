"""labelme JSON: one file an image, with polygons that people can go on editing."""

import os
from pathlib import Path
from typing import Any

from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.files import OutputFolder, write_bytes
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.images import (
    FoundObject,
    LabelNames,
    found_objects,
    images_of,
    without_videos,
)
from sa2va_cli.exporters.leftovers import Kind, remove_leftovers
from sa2va_cli.exporters.numbers import dump_json, score_json
from sa2va_cli.exporters.polygons import mask_polygons
from sa2va_cli.results import ItemResult, ResultReader

# As we write it; what labelme itself has saved has other spaces, and is somebody's work.
LABEL_FILES = Kind(("labelme",), r".+\.json", head=rb'\{"version":"5\.5\.0","flags":\{\},"shapes":')


class LabelmeExporter:
    """labelme/<item>.json. The parts of an object share a group_id; holes are cut open."""

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        names = LabelNames(results, ".json")
        count = 0
        for item in images_of(results):
            label = names.of(item.item_id)
            path = folder.path("labelme", *label[:-1], f"{label[-1]}.json")
            shapes = [s for found in found_objects(item, results) for s in _shapes(found)]
            write_bytes(path, dump_json(_file_json(item, path, shapes)).encode("ascii") + b"\n")
            count += 1
        notes = remove_leftovers(folder, self._options, LABEL_FILES)
        exported = Exported(folder.folder("labelme"), count, "label files", notes)
        return without_videos(results, exported)


def _file_json(item: ItemResult, path: Path, shapes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": os.path.relpath(item.path, path.parent) if item.path else item.item_id,
        "imageData": None,
        "imageHeight": item.height,
        "imageWidth": item.width,
    }


def _shapes(found: FoundObject) -> list[dict[str, Any]]:
    score = score_json(found.mask.score)
    return [
        {
            "label": found.record.category,
            "points": polygon.round(2).tolist(),
            "group_id": found.record.obj_id,
            "description": f"{found.record.label} (score {score:.2f})",
            "shape_type": "polygon",
            "flags": {},
        }
        for polygon in mask_polygons(found.mask.rle)
    ]
