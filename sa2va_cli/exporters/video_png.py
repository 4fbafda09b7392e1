"""Mask pictures of videos as benchmarks want them: DAVIS palettes, and one folder a sentence."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.files import OutputFolder, atomic_file, write_bytes
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.frames import FrameNames, frames_of
from sa2va_cli.exporters.leftovers import Kind, remove_leftovers
from sa2va_cli.exporters.names import item_folder
from sa2va_cli.exporters.numbers import dump_json
from sa2va_cli.exporters.palette import davis_palette
from sa2va_cli.exporters.parallel import map_in_threads
from sa2va_cli.exporters.png import mask_png
from sa2va_cli.masks import Rle, decode_rle
from sa2va_cli.results import ItemResult, MaskRecord, ResultReader

MAX_OBJECTS = 255  # a palette has no more
DAVIS_MASKS = Kind(("davis",), r"Annotations/.+/[^/]+\.png")
REF_VOS_MASKS = Kind(("ref_vos",), r"Annotations/.+/\d+/[^/]+\.png")


@dataclass(frozen=True, slots=True)
class _Picture:
    path: Path
    height: int
    width: int
    layers: tuple[tuple[int, Rle], ...]  # (value, where), the topmost last
    palette: bool  # mode P with DAVIS colours; otherwise mode L, 0 and 255


class DavisExporter:
    """davis/Annotations/<video>/00000.png in mode P: a pixel's value is its object's number.

    A pixel belongs to one object: where masks overlap, to that of the higher score in this
    frame, and of equal scores to the lower number. davis/objects.jsonl names the numbers.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        notes: list[str] = []
        with atomic_file(folder.path("davis", "objects.jsonl")) as names:
            pictures = self._pictures(results, folder, names.write, notes)
            count = sum(map_in_threads(_write, pictures, self._options.workers))
        notes += remove_leftovers(folder, self._options, DAVIS_MASKS)
        return Exported(folder.folder("davis"), count, "frames", tuple(notes))

    def _pictures(
        self, results: ResultReader, folder: OutputFolder, write: Any, notes: list[str]
    ) -> Iterator[_Picture]:
        for item in results.items():
            if item.kind != "video":
                continue
            if len(item.objects) > MAX_OBJECTS:
                notes.append(f"{item.item_id}: objects after number {MAX_OBJECTS} are left out")
            write(_davis_names(item))
            yield from _davis_pictures(item, results, folder)


class RefVosExporter:
    """ref_vos/Annotations/<video>/<expression>/<frame>.png in mode L, 0 and 255.

    The layout that Ref-YouTube-VOS and MeViS are submitted in: an expression is a prompt, its
    mask all of its objects. ref_vos/meta_expressions.json lists videos, prompts and frames.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        with atomic_file(folder.path("ref_vos", "meta_expressions.json")) as meta:
            meta.write(b'{"videos":{')
            pictures = self._pictures(results, folder, meta.write)
            count = sum(map_in_threads(_write, pictures, self._options.workers))
            meta.write(b"\n}}\n")
        notes = remove_leftovers(folder, self._options, REF_VOS_MASKS)
        return Exported(folder.folder("ref_vos"), count, "frames", notes)

    def _pictures(
        self, results: ResultReader, folder: OutputFolder, write: Any
    ) -> Iterator[_Picture]:
        separator = b"\n"
        for item in results.items():
            if item.kind == "video":
                frames: list[str] = []
                yield from _expression_pictures(item, results, folder, frames)
                write(separator + _expressions_json(item, frames))
                separator = b",\n"


def _davis_pictures(
    item: ItemResult, results: ResultReader, folder: OutputFolder
) -> Iterator[_Picture]:
    segments = ("davis", "Annotations", *item_folder(item.item_id))
    names = FrameNames(item)
    for frame_idx, masks in frames_of(item, results):
        masks.sort(key=lambda mask: (mask.score, -mask.obj_id))
        layers = tuple((m.obj_id, m.rle) for m in masks if m.obj_id <= MAX_OBJECTS)
        path = folder.path(*segments, f"{names.stem(frame_idx)}.png")
        yield _Picture(path, item.height, item.width, layers, palette=True)


def _davis_names(item: ItemResult) -> bytes:
    objects = {
        record.obj_id: {"category": record.category, "label": record.label}
        for record in item.objects[:MAX_OBJECTS]
    }
    folder = "/".join(item_folder(item.item_id))
    line = {"item_id": item.item_id, "folder": folder, "objects": objects}
    return dump_json(line).encode("ascii") + b"\n"


def _expression_pictures(
    item: ItemResult, results: ResultReader, folder: OutputFolder, frames: list[str]
) -> Iterator[_Picture]:
    """Fills `frames` with the names of the frames."""
    segments = ("ref_vos", "Annotations", *item_folder(item.item_id))
    names = FrameNames(item)
    prompt_of = {record.obj_id: record.prompt_idx for record in item.objects}
    for frame_idx, masks in frames_of(item, results):
        frames.append(names.stem(frame_idx))
        for answer in item.answers:
            place = (str(answer.prompt_idx), f"{names.stem(frame_idx)}.png")
            layers = _union(masks, prompt_of, answer.prompt_idx)
            path = folder.path(*segments, *place)
            yield _Picture(path, item.height, item.width, layers, palette=False)


def _union(
    masks: list[MaskRecord], prompt_of: dict[int, int], prompt_idx: int
) -> tuple[tuple[int, Rle], ...]:
    return tuple((1, mask.rle) for mask in masks if prompt_of[mask.obj_id] == prompt_idx)


def _expressions_json(item: ItemResult, frames: list[str]) -> bytes:
    expressions = {str(a.prompt_idx): {"exp": a.prompt} for a in item.answers}
    name = dump_json("/".join(item_folder(item.item_id)))
    return f"{name}:{dump_json({'expressions': expressions, 'frames': frames})}".encode("ascii")


def _write(picture: _Picture) -> int:
    values = np.zeros((picture.height, picture.width), dtype=np.uint8)
    for value, rle in picture.layers:
        values[decode_rle(rle)] = value
    data = _palette_png(values) if picture.palette else mask_png(values > 0)
    write_bytes(picture.path, data)
    return 1


def _palette_png(values: np.ndarray) -> bytes:
    image = Image.fromarray(values).convert("L")
    image.putpalette(davis_palette())  # turns L into P, the values stay
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
