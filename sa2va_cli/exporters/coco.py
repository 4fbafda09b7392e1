"""COCO instance segmentation of the images: one annotations.json, as every consumer wants it."""

from pathlib import Path
from typing import Any

from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.categories import Categories
from sa2va_cli.exporters.files import OutputFolder
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.images import found_objects, images_of, without_videos
from sa2va_cli.exporters.json_document import JsonDocument, json_document
from sa2va_cli.exporters.numbers import score_json
from sa2va_cli.exporters.polygons import coco_polygons
from sa2va_cli.masks import rle_area, rle_bbox
from sa2va_cli.results import ItemResult, MaskRecord, ObjectRecord, ResultReader

HEAD: dict[str, Any] = {
    "info": {"description": "Annotated by sa2va", "version": "1.0"},
    "licenses": [],
}


class CocoExporter:
    """Ids count up from 1 in the order of item ids; images without objects are listed too."""

    file_name = "annotations.json"

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        categories = Categories(results)
        path = OutputFolder(out_dir).path(self.file_name)
        with json_document(path, ("images", "annotations", "categories"), HEAD) as document:
            for item in images_of(results):
                self._append_image(document, item, results, categories)
            for category in categories:
                document.append("categories", category.to_json())
            count = document.counts["annotations"]
        return without_videos(results, Exported(path, count, "annotations"))

    def _append_image(
        self,
        document: JsonDocument,
        item: ItemResult,
        results: ResultReader,
        categories: Categories,
    ) -> None:
        image_id = document.counts["images"] + 1
        document.append("images", image_json(image_id, item))
        for found in found_objects(item, results):
            ids = {
                "id": document.counts["annotations"] + 1,
                "image_id": image_id,
                "category_id": categories.id_of(found.record),
            }
            scores = object_json(found.record, found.mask, found.sentence, found.presence)
            document.append("annotations", ids | self._mask_json(found.mask) | scores)

    def _mask_json(self, mask: MaskRecord) -> dict[str, Any]:
        polygon = self._options.coco_segmentation == "polygon"
        return {
            "segmentation": coco_polygons(mask.rle) if polygon else mask.rle,
            "area": rle_area(mask.rle),
            "bbox": rle_bbox(mask.rle),
            "iscrowd": 0,
        }


def image_json(image_id: int, item: ItemResult) -> dict[str, Any]:
    return {
        "id": image_id,
        "file_name": item.item_id,
        "height": item.height,
        "width": item.width,
    }


def object_json(
    record: ObjectRecord, mask: MaskRecord, sentence: str, presence: float | None
) -> dict[str, Any]:
    """What the model was asked and how sure it is; consumers that do not know these skip them."""
    known = {} if presence is None else {"presence": score_json(presence)}
    return known | {
        "score": score_json(mask.score),
        "object_score": score_json(mask.object_score),
        "seg_probability": score_json(record.seg_probability),
        "obj_id": record.obj_id,
        "label": record.label,
        "caption": sentence,
    }
