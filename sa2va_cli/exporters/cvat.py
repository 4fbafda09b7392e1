"""COCO as CVAT imports it: the file where "COCO 1.0" looks for it, and no unknown fields."""

from pathlib import Path
from typing import Any

from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.categories import Categories
from sa2va_cli.exporters.coco import HEAD, image_json
from sa2va_cli.exporters.files import OutputFolder
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.images import FoundObject, found_objects, images_of, without_videos
from sa2va_cli.exporters.json_document import json_document
from sa2va_cli.exporters.polygons import coco_polygons
from sa2va_cli.masks import rle_area, rle_bbox
from sa2va_cli.results import ResultReader

LISTS = ("images", "annotations", "categories")


class CvatExporter:
    """cvat/annotations/instances_default.json, for "Upload annotations" as COCO 1.0.

    CVAT takes run lengths that are marked as crowds for masks, and polygons for shapes; their
    parts become one group. It warns about attributes that a task does not define: scores and
    sentences stay out.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        path = folder.path("cvat", "annotations", "instances_default.json")
        categories = Categories(results)
        polygon = self._options.coco_segmentation == "polygon"
        with json_document(path, LISTS, HEAD) as document:
            for image_id, item in enumerate(images_of(results), start=1):
                document.append("images", image_json(image_id, item))
                for found in found_objects(item, results):
                    ids = {
                        "id": document.counts["annotations"] + 1,
                        "image_id": image_id,
                        "category_id": categories.id_of(found.record),
                    }
                    document.append("annotations", ids | _mask_json(found, polygon))
            for category in categories:
                names = {"id": category.category_id, "name": category.name, "supercategory": ""}
                document.append("categories", names)
            count = document.counts["annotations"]
        return without_videos(results, Exported(path, count, "annotations"))


def _mask_json(found: FoundObject, polygon: bool) -> dict[str, Any]:
    rle = found.mask.rle
    return {
        "segmentation": coco_polygons(rle) if polygon else rle,
        "area": rle_area(rle),
        "bbox": rle_bbox(rle),
        "iscrowd": 0 if polygon else 1,
    }
