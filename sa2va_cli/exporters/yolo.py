"""YOLO segmentation: a text file of polygons for each image, and the data.yaml that trains."""

from pathlib import Path

import cv2
import numpy as np
import yaml

from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.categories import Categories
from sa2va_cli.exporters.files import OutputFolder, write_bytes
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.images import (
    LabelNames,
    found_objects,
    images_of,
    link_image,
    missing_note,
    suffix_of,
    without_videos,
)
from sa2va_cli.exporters.leftovers import Kind, remove_leftovers
from sa2va_cli.exporters.polygons import joined_polygon
from sa2va_cli.masks import Rle, decode_rle
from sa2va_cli.results import ItemResult, ResultReader

# Readers find labels by putting "labels" in place of the last "images" of a picture's path
# (https://docs.ultralytics.com/datasets/segment/): no other folder may have that name.
IMAGES, ESCAPED_IMAGES = "images", "%69mages"

LABEL_FILES = Kind(("yolo",), r"labels/.+\.txt", head=rb"\Z|\d+( \d\.\d{6}){2}")
PICTURES = Kind(("yolo",), f"{IMAGES}/.+", links=True)


class YoloExporter:
    """yolo/labels/<item>.txt beside links to the images; an empty file is a negative.

    A line is `class x y x y …` in parts of the width and height. YOLO knows one polygon for an
    object: its parts are joined by bridges without width, and its holes are filled.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        names, categories = LabelNames(results, ".txt"), Categories(results)
        count = missing = holes = 0
        for item in images_of(results):
            labels, picture = _places(names.of(item.item_id), item)
            lines, filled = _label_lines(item, results, categories)
            write_bytes(folder.path(*labels), "".join(lines).encode("ascii"))
            missing += not link_image(item.path, folder.path(*picture))
            count, holes = count + 1, holes + filled
        _write_yaml(folder.path("yolo", "data.yaml"), categories)
        notes: tuple[str, ...] = (
            (f"objects whose holes are filled, because YOLO has none: {holes}",) if holes else ()
        )
        notes += remove_leftovers(folder, self._options, LABEL_FILES, PICTURES)
        exported = Exported(folder.folder("yolo"), count, "label files", notes)
        return without_videos(results, exported.with_notes(*missing_note(missing)))


def _places(name: tuple[str, ...], item: ItemResult) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where the labels and the picture of an image of that name are, from the output folder."""
    parents = [ESCAPED_IMAGES if parent == IMAGES else parent for parent in name[:-1]]
    labels = ("yolo", "labels", *parents, f"{name[-1]}.txt")
    return labels, ("yolo", IMAGES, *parents, f"{name[-1]}{suffix_of(item.item_id)}")


def _label_lines(
    item: ItemResult, results: ResultReader, categories: Categories
) -> tuple[list[str], int]:
    """The lines of one image, and how many of its objects have holes."""
    lines, holes = [], 0
    for found in found_objects(item, results):
        points = joined_polygon(found.mask.rle) / (item.width, item.height)
        numbers = " ".join(f"{number:.6f}" for number in points.ravel())
        lines.append(f"{categories.id_of(found.record) - 1} {numbers}\n")
        holes += _has_hole(found.mask.rle)
    return lines, holes


def _has_hole(rle: Rle) -> bool:
    _, hierarchy = cv2.findContours(
        decode_rle(rle).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    return bool((hierarchy[0][:, 3] >= 0).any())


def _write_yaml(path: Path, categories: Categories) -> None:
    data = {  # without a path, which would start from the reader's working folder
        "train": IMAGES,
        "val": IMAGES,
        "names": {category.category_id - 1: category.name for category in categories},
    }
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=False, width=1000)
    write_bytes(path, text.encode("ascii"))
