"""report.html: a page to look at all results with one's own eyes, from disk, without a server."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from sa2va_cli.errors import MediaError
from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.drawing import Drawn, draw_overlay
from sa2va_cli.exporters.files import OutputFolder, atomic_file, write_bytes
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.frames import frames_of
from sa2va_cli.exporters.item_json import ObjectSummary, summarise
from sa2va_cli.exporters.leftovers import Kind, remove_leftovers
from sa2va_cli.exporters.links import browser_shows, relative_url, url_of
from sa2va_cli.exporters.names import item_file
from sa2va_cli.exporters.numbers import dump_json, fps_json, score_json
from sa2va_cli.exporters.originals import load_original, open_original
from sa2va_cli.exporters.overlay import FOLDER as OVERLAYS
from sa2va_cli.exporters.overlay import check_size, shorten
from sa2va_cli.exporters.palette import object_colour
from sa2va_cli.exporters.parallel import map_in_threads
from sa2va_cli.exporters.report_html import page_parts, script_safe
from sa2va_cli.exporters.video import SUFFIX as VIDEO_SUFFIX
from sa2va_cli.masks import decode_rle, rle_area
from sa2va_cli.results import AnswerRecord, ItemResult, MaskRecord, ObjectRecord, ResultReader

FOLDER = "report"  # beside the page: thumbnails, masks, pictures that no browser shows
BESIDE = Kind((FOLDER,), r"(pictures|thumbnails)/.+\.jpg|masks/.+\.js")
THUMBNAIL_SIDE = 360
PICTURE_SIDE = 2048
FAR = 250  # frames: decoding fewer costs less than seeking, with a decoder of its own


@dataclass(frozen=True, slots=True)
class _Task:
    """One item. The masks are those of an image, or of the frame that stands for a video."""

    item: ItemResult
    summaries: dict[int, ObjectSummary]
    frame_idx: int
    masks: tuple[MaskRecord, ...]


class ReportExporter:
    """report.html and report/, which it needs beside it; videos play from overlays/.

    It shows the original pictures where they are. Pictures that no browser shows are copied.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        folder = OutputFolder(out_dir)
        before, after = page_parts()
        problems: list[str] = []
        count = 0
        with atomic_file(folder.path("report.html")) as file:
            file.write(before + b'{"items":[')
            tasks = (_task(item, results) for item in results.items())
            work = _ItemWriter(folder)
            for item_text, problem in map_in_threads(work, tasks, self._options.workers):
                file.write((b",\n" if count else b"\n") + item_text.encode("ascii"))
                problems += [problem] if problem else []
                count += 1
            file.write(b'],"failures":[')
            for number, failure in enumerate(results.failures()):
                data = {"id": failure.item_id, "reason": failure.reason}
                text = script_safe(data | {"attempts": failure.attempts})
                file.write((",\n" if number else "\n").encode("ascii") + text.encode("ascii"))
            file.write(b"]}" + after)
        notes = shorten(problems) + remove_leftovers(folder, self._options, BESIDE)
        return Exported(folder.root / "report.html", count, "items", notes)


class _ItemWriter:
    """Writes what stands beside the page for one item."""

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder

    def __call__(self, task: _Task) -> tuple[str, str]:
        """JSON of the item for the page, and what went wrong or an empty string."""
        item = task.item
        data = _item_json(task)
        problem = ""
        try:
            pixels, data["picture"] = self._picture(task)
            data["thumb"] = self._thumbnail(item, pixels, task.masks)
        except MediaError as error:
            problem = str(error).splitlines()[0]
        if item.kind == "video":
            data["video"] = self._video(item)
        elif task.masks and "picture" in data:
            data["masks"] = self._masks(item, task.masks)
        return script_safe(
            {name: value for name, value in data.items() if value is not None}
        ), problem

    def _picture(self, task: _Task) -> tuple[np.ndarray, str | None]:
        """Pixels, and for an image the URL of a picture that browsers show."""
        item = task.item
        if item.kind == "video":
            return _video_frame(item, task.frame_idx), None
        pixels = load_original(item)
        check_size(pixels, item)
        if browser_shows(item.path):
            return pixels, relative_url(item.path, self._folder.root)
        name = (FOLDER, "pictures", *item_file(item.item_id, ".jpg"))
        write_bytes(self._folder.path(*name), _jpeg(_shrink(pixels, PICTURE_SIDE), 88))
        return pixels, url_of(name)

    def _thumbnail(
        self, item: ItemResult, pixels: np.ndarray, masks: tuple[MaskRecord, ...]
    ) -> str:
        small = _shrink(pixels, THUMBNAIL_SIDE)
        height, width = small.shape[:2]
        objects = [Drawn(m.obj_id, _shrink_mask(m, height, width), "") for m in masks]
        drawn = draw_overlay(small, [one for one in objects if one.mask.any()], labelled=False)
        name = (FOLDER, "thumbnails", *item_file(item.item_id, ".jpg"))
        write_bytes(self._folder.path(*name), _jpeg(drawn, 82))
        return url_of(name)

    def _masks(self, item: ItemResult, masks: tuple[MaskRecord, ...]) -> str:
        """A script, because a page on disk may load no other file: it hands the masks over."""
        counts = [[mask.obj_id, mask.rle["counts"]] for mask in masks]
        values = (item.item_id, item.height, item.width, counts)
        call = f"sa2vaMasks({','.join(dump_json(value) for value in values)});\n"
        name = (FOLDER, "masks", *item_file(item.item_id, ".js"))
        write_bytes(self._folder.path(*name), call.encode("ascii"))
        return url_of(name)

    def _video(self, item: ItemResult) -> str | None:
        name = (OVERLAYS, *item_file(item.item_id, VIDEO_SUFFIX))
        return url_of(name) if self._folder.root.joinpath(*name).is_file() else None


def _task(item: ItemResult, results: ResultReader) -> _Task:
    if item.kind == "image":
        masks = tuple(results.masks(item.item_id))
        there = tuple(mask for mask in masks if rle_area(mask.rle))
        return _Task(item, summarise(item, masks), 0, there)
    summaries = summarise(item, results.masks(item.item_id))
    starts = (s.first_frame for s in summaries.values() if s.first_frame is not None)
    frame_idx = min(starts, default=-1)
    for idx, in_frame in frames_of(item, results):
        if frame_idx in (-1, idx):
            there = tuple(mask for mask in in_frame if rle_area(mask.rle))
            return _Task(item, summaries, idx, there)
    return _Task(item, summaries, 0, ())


def _item_json(task: _Task) -> dict[str, Any]:
    item = task.item
    return {
        "id": item.item_id,
        "kind": item.kind,
        "width": item.width,
        "height": item.height,
        "frames": item.num_frames if item.kind == "video" else None,
        "fps": fps_json(item.fps) if item.kind == "video" else None,
        "notes": list(item.notes) or None,
        "answers": [_answer_json(answer) for answer in item.answers],
        "objects": [_object_json(task, record) for record in item.objects],
    }


def _answer_json(answer: AnswerRecord) -> dict[str, Any]:
    data: dict[str, Any] = {
        "p": answer.prompt_idx,
        "prompt": answer.prompt or answer.category,
        "text": answer.text,
    }
    return data if answer.presence is None else data | {"presence": score_json(answer.presence)}


def _object_json(task: _Task, record: ObjectRecord) -> dict[str, Any]:
    summary = task.summaries[record.obj_id]
    best = summary.best
    return {
        "id": record.obj_id,
        "p": record.prompt_idx,
        "category": record.category,
        "label": record.label,
        "score": score_json(best.score) if best else 0.0,
        "object_score": score_json(best.object_score) if best else 0.0,
        "seg_probability": score_json(record.seg_probability),
        "found": summary.frames > 0,
        "frames": summary.frames,
        "area": round(rle_area(best.rle) / (task.item.height * task.item.width), 4) if best else 0,
        "colour": "#" + bytes(object_colour(record.obj_id)).hex(),
    }


def _video_frame(item: ItemResult, frame_idx: int) -> np.ndarray:
    """Raises MediaError when the frame cannot be had."""
    with open_original(item) as video:  # of all frames: a frame's number is its position
        for frame in video.read(frame_idx if frame_idx > FAR else 0):
            if frame.frame_idx >= frame_idx:
                check_size(frame.pixels, item)
                return frame.pixels
    raise MediaError(f"{item.item_id}: frame {frame_idx} cannot be read any more.")


def _shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _shrink_mask(mask: MaskRecord, height: int, width: int) -> np.ndarray:
    full = decode_rle(mask.rle).astype(np.uint8)
    return cv2.resize(full, (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
