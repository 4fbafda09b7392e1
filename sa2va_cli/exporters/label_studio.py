"""Label Studio tasks with predictions: brushes that are the masks, or polygons to edit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.categories import Categories
from sa2va_cli.exporters.files import OutputFolder, atomic_file, write_bytes
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.images import FoundObject, found_objects, images_of, without_videos
from sa2va_cli.exporters.numbers import dump_json, score_json
from sa2va_cli.exporters.palette import object_colour
from sa2va_cli.exporters.polygons import mask_polygons
from sa2va_cli.masks import decode_rle
from sa2va_cli.results import ItemResult, ResultReader

CHANNELS = 4  # a brush is a picture with red, green, blue and alpha
RUN_BITS = (4, 8, 12, 16)  # sizes that a run's length may be written in
LONGEST_RUN = 1 << RUN_BITS[-1]


class LabelStudioExporter:
    """label_studio/tasks.json and the labeling set-up that it fits, label_studio/config.xml.

    Pictures are named as local files below the server's document root. Brushes keep every
    pixel; with polygons, parts become regions of their own.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        polygon = self._options.coco_segmentation == "polygon"
        path = folder.path("label_studio", "tasks.json")
        count = 0
        with atomic_file(path) as file:
            file.write(b"[")
            for item in images_of(results):
                separator = ",\n" if count else "\n"
                task = dump_json(_task_json(item, results, polygon))
                file.write((separator + task).encode("ascii"))
                count += 1
            file.write(b"\n]\n")
        config = folder.path("label_studio", "config.xml")
        write_bytes(config, _config_xml(Categories(results), polygon).encode("utf-8"))
        return without_videos(results, Exported(path, count, "tasks"))


def brush_rle(mask: np.ndarray) -> list[int]:
    """(H, W) bool -> the bytes of a brush, 255 inside in all channels.

    The format is https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack: 32 bits for
    the number of values, 5 for their size less 1, 4 x 4 for the sizes of run lengths less 1;
    then for each run: 1, two bits that choose the size, the length less 1, the value.
    """
    values = mask.ravel()
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    starts = np.concatenate(([0], edges))
    lengths = np.diff(np.concatenate((starts, [values.size]))) * CHANNELS
    bits = [f"{values.size * CHANNELS:032b}", "00111", *(f"{size - 1:04b}" for size in RUN_BITS)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = "1" * 8 if values[start] else "0" * 8
        for rest in range(length, 0, -LONGEST_RUN):
            bits.append(_run_bits(min(rest, LONGEST_RUN), value))
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def _run_bits(length: int, value: str) -> str:
    choice = next(i for i, size in enumerate(RUN_BITS) if length <= 1 << size)
    return f"1{choice:02b}{length - 1:0{RUN_BITS[choice]}b}{value}"


def _task_json(item: ItemResult, results: ResultReader, polygon: bool) -> dict[str, Any]:
    found = list(found_objects(item, results))
    regions = [r for one in found for r in (_polygons(item, one) if polygon else [_brush(one)])]
    for number, region in enumerate(regions, start=1):
        size = {"original_width": item.width, "original_height": item.height, "image_rotation": 0}
        region |= {"id": f"r{number}", "from_name": "label", "to_name": "image"} | size
    prediction = {
        "model_version": "sa2va",
        "score": score_json(mean_score(found)),
        "result": regions,
    }
    image = f"/data/local-files/?d={quote(item.item_id, errors='surrogateescape')}"
    return {"data": {"image": image, "item_id": item.item_id}, "predictions": [prediction]}


def mean_score(found: Sequence[FoundObject]) -> float:
    return sum(one.mask.score for one in found) / len(found) if found else 0.0


def _brush(found: FoundObject) -> dict[str, Any]:
    rle = brush_rle(decode_rle(found.mask.rle))
    value = {"format": "rle", "rle": rle, "brushlabels": [found.record.category]}
    return _region(found, "brushlabels", value)


def _polygons(item: ItemResult, found: FoundObject) -> list[dict[str, Any]]:
    """Points in percent of the width and height."""
    scale = np.array((100 / item.width, 100 / item.height))
    return [
        _region(
            found,
            "polygonlabels",
            {"points": (points * scale).round(4).tolist(), "closed": True}
            | {"polygonlabels": [found.record.category]},
        )
        for points in mask_polygons(found.mask.rle)
    ]


def _region(found: FoundObject, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    meta = {"text": [found.record.label]}
    return {"type": kind, "value": value, "score": score_json(found.mask.score), "meta": meta}


def _config_xml(categories: Categories, polygon: bool) -> str:
    tag = "PolygonLabels" if polygon else "BrushLabels"
    labels = "".join(
        f"    <Label value={quoteattr(category.name)} background="
        f'"#{bytes(object_colour(category.category_id)).hex()}"/>\n'
        for category in categories
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <{tag} name="label" toName="image">\n{labels}  </{tag}>\n</View>\n'
    )
