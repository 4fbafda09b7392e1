"""Hugging Face datasets: an imagefolder beside the pictures, or Parquet with all inside."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sa2va_cli.errors import UsageError
from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.categories import Categories
from sa2va_cli.exporters.files import OutputFolder, atomic_file
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.images import (
    FolderNames,
    FoundObject,
    found_objects,
    images_of,
    link_image,
    missing_note,
    without_videos,
)
from sa2va_cli.exporters.leftovers import Kind, remove_leftovers
from sa2va_cli.exporters.names import item_folder
from sa2va_cli.exporters.numbers import dump_json, score_json
from sa2va_cli.exporters.png import mask_png
from sa2va_cli.masks import decode_rle, rle_area, rle_bbox
from sa2va_cli.results import ItemResult, ResultReader

if TYPE_CHECKING:
    import pyarrow

PICTURES = Kind(("imagefolder", "train"), ".+", links=True)
METADATA = "metadata.jsonl"  # the name that datasets looks for
ROWS = 64  # in one row group, and in memory
# Words in folders' names that datasets makes splits of: SPLIT_KEYWORDS and NON_WORDS_CHARS in
# https://github.com/huggingface/datasets/blob/main/src/datasets/data_files.py
OTHER_SPLITS = re.compile(
    r"(?<![^-._ 0-9])(validation|valid|dev|val|test|testing|eval|evaluation)(?![^-._ 0-9])"
)
BYTES = 64 << 20  # or fewer, when the pictures are large


class ImagefolderExporter:
    """imagefolder/train/<item> links to the pictures; metadata.jsonl has the objects.

    `load_dataset("imagefolder", data_dir=…)` reads it. Masks are COCO run lengths as strings.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        categories = Categories(results)
        folders = FolderNames(
            [(METADATA,), *(item_folder(item.item_id) for item in images_of(results))]
        )
        count = missing = 0
        with atomic_file(folder.path("imagefolder", "train", METADATA)) as file:
            for item in images_of(results):
                name = _in_one_split(folders.of(item_folder(item.item_id)))
                if not link_image(item.path, folder.path("imagefolder", "train", *name)):
                    missing += 1
                    continue  # a row without a picture breaks the loader
                row = {"file_name": "/".join(name)} | _row(item, results, categories)
                file.write(dump_json(row).encode("ascii") + b"\n")
                count += 1
        notes = missing_note(missing) + remove_leftovers(folder, self._options, PICTURES)
        exported = Exported(folder.folder("imagefolder"), count, "rows", notes)
        return without_videos(results, exported)


def _in_one_split(segments: tuple[str, ...]) -> tuple[str, ...]:
    *folders, name = segments
    return (*(OTHER_SPLITS.sub(_escape_end, folder) for folder in folders), name)


def _escape_end(match: re.Match[str]) -> str:
    word = match[0]
    return f"{word[:-1]}%{ord(word[-1]):02X}"


class ParquetExporter:
    """parquet/train.parquet: a row an image, with its bytes and a PNG for each mask.

    `load_dataset("parquet", data_files=…)` shows both as pictures.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options
        self._arrow = _import_arrow()

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        path = OutputFolder(out_dir).path("parquet", "train.parquet")
        categories = Categories(results)
        schema = _schema(self._arrow, [category.name for category in categories])
        missing: list[str] = []
        count = 0
        from pyarrow import parquet

        with atomic_file(path) as file, parquet.ParquetWriter(file, schema) as writer:
            for rows in _batches(_parquet_rows(results, categories, missing)):
                writer.write_table(self._arrow.Table.from_pylist(rows, schema))
                count += len(rows)
        exported = Exported(path, count, "rows", missing_note(len(missing)))
        return without_videos(results, exported)


def _import_arrow() -> ModuleType:
    try:
        import pyarrow
    except ImportError:
        raise UsageError(
            "The parquet format needs pyarrow.", hint="pip install 'sa2va-cli[parquet]'"
        ) from None
    return pyarrow


def _row(item: ItemResult, results: ResultReader, categories: Categories) -> dict[str, Any]:
    """What imagefolder says of one image; every row has the same fields."""
    objects = list(found_objects(item, results))
    return {
        "item_id": item.item_id,
        "width": item.width,
        "height": item.height,
        "text": "\n".join(answer.text for answer in item.answers),
        "objects": _columns(objects, categories)
        | {"rle": [found.mask.rle["counts"] for found in objects]},
    }


def _columns(objects: list[FoundObject], categories: Categories) -> dict[str, list[Any]]:
    """One list a field, as datasets keeps lists of records. Categories count from 0."""
    return {
        "obj_id": [found.record.obj_id for found in objects],
        "category": [found.record.category for found in objects],
        "category_id": [categories.id_of(found.record) - 1 for found in objects],
        "label": [found.record.label for found in objects],
        "prompt": [found.sentence for found in objects],
        "bbox": [rle_bbox(found.mask.rle) for found in objects],
        "area": [rle_area(found.mask.rle) for found in objects],
        "score": [score_json(found.mask.score) for found in objects],
        "object_score": [score_json(found.mask.object_score) for found in objects],
        "seg_probability": [score_json(found.record.seg_probability) for found in objects],
    }


def _parquet_rows(
    results: ResultReader, categories: Categories, missing: list[str]
) -> Iterator[dict[str, Any]]:
    for item in images_of(results):
        try:
            picture = Path(item.path).read_bytes()
        except OSError:
            missing.append(item.item_id)
            continue
        objects = list(found_objects(item, results))
        masks = [
            {"bytes": mask_png(decode_rle(found.mask.rle)), "path": f"{found.record.obj_id}.png"}
            for found in objects
        ]
        columns = _columns(objects, categories)
        columns["category"] = columns.pop("category_id")  # a class label: a number with a name
        yield {
            "image": {"bytes": picture, "path": item.item_id},
            "width": item.width,
            "height": item.height,
            "text": "\n".join(answer.text for answer in item.answers),
            "masks": masks,
        } | columns


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row["image"]["bytes"]) + sum(len(mask["bytes"]) for mask in row["masks"])
        if len(batch) == ROWS or size > BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _schema(arrow: ModuleType, names: list[str]) -> "pyarrow.Schema":
    """Column types for Arrow, and for datasets what they mean."""
    picture = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    whole, number, text = arrow.int64(), arrow.float64(), arrow.string()
    columns = {
        "image": (picture, {"_type": "Image"}),
        "width": (whole, _value("int64")),
        "height": (whole, _value("int64")),
        "text": (text, _value("string")),
        "masks": (arrow.list_(picture), [{"_type": "Image"}]),
        "obj_id": (arrow.list_(whole), [_value("int64")]),
        "category": (arrow.list_(whole), [{"names": names, "_type": "ClassLabel"}]),
        "label": (arrow.list_(text), [_value("string")]),
        "prompt": (arrow.list_(text), [_value("string")]),
        "bbox": (arrow.list_(arrow.list_(whole)), [[_value("int64")]]),
        "area": (arrow.list_(whole), [_value("int64")]),
        "score": (arrow.list_(number), [_value("float64")]),
        "object_score": (arrow.list_(number), [_value("float64")]),
        "seg_probability": (arrow.list_(number), [_value("float64")]),
    }
    features = {name: feature for name, (_, feature) in columns.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    fields = [(name, kind) for name, (kind, _) in columns.items()]
    return arrow.schema(fields, metadata=metadata)


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}
