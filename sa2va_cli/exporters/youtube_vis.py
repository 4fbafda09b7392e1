"""YouTube-VIS JSON of the videos: each object with its mask, box and area in every frame."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.categories import Categories
from sa2va_cli.exporters.coco import HEAD, object_json
from sa2va_cli.exporters.files import OutputFolder, open_temporary
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.frames import FrameNames, frames_of
from sa2va_cli.exporters.item_json import ObjectSummary
from sa2va_cli.exporters.json_document import JsonDocument, json_document
from sa2va_cli.exporters.numbers import dump_json, score_json
from sa2va_cli.masks import rle_area, rle_bbox
from sa2va_cli.results import ItemResult, MaskRecord, ObjectRecord, ResultReader

COLUMNS = ("segmentations", "bboxes", "areas", "scores")
ABSENT = -1


class YoutubeVisExporter:
    """youtube_vis.json. A place in the lists is a frame that was looked at; null: not there."""

    file_name = "youtube_vis.json"

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        categories = Categories(results)
        path = OutputFolder(out_dir).path(self.file_name)
        images = 0
        with json_document(path, ("videos", "annotations", "categories"), HEAD) as document:
            for item in results.items():
                if item.kind == "video":
                    spool = path.with_name(f".{path.name}.frames.tmp")
                    _append_video(document, item, results, categories, spool)
                else:
                    images += 1
            for category in categories:
                document.append("categories", category.to_json())
            count = document.counts["annotations"]
        notes = (f"images left out: {images}; coco takes them",) if images else ()
        return Exported(path, count, "tracks", notes)


class _Tracks:
    """The masks of one video, turned from frames of objects into objects of frames.

    They lie in a file; memory holds eight bytes for each.
    """

    def __init__(self, item: ItemResult, spool: BinaryIO) -> None:
        self.frames = array("q")
        self.summaries = {record.obj_id: ObjectSummary() for record in item.objects}
        self._places = {record.obj_id: array("q") for record in item.objects}
        self._spool = spool

    def add(self, frame_idx: int, masks: list[MaskRecord]) -> None:
        for mask in masks:
            self.summaries[mask.obj_id].add(mask)
            if rle_area(mask.rle):
                places = self._places[mask.obj_id]
                _pad(places, len(self.frames))
                places.append(self._spool.tell())
                self._spool.write(_cells(mask))
        self.frames.append(frame_idx)

    def column(self, obj_id: int, column: int) -> Iterator[str]:
        """JSON of one list of an object, in pieces."""
        places = self._places[obj_id]
        _pad(places, len(self.frames))
        for slot, place in enumerate(places):
            yield "[" if slot == 0 else ","
            if place == ABSENT:
                yield "null"
            else:
                self._spool.seek(place)
                yield self._spool.readline().rstrip(b"\n").split(b"\t")[column].decode("ascii")
        yield "]"


def _cells(mask: MaskRecord) -> bytes:
    cells = (mask.rle, rle_bbox(mask.rle), rle_area(mask.rle), score_json(mask.score))
    return "\t".join(dump_json(cell) for cell in cells).encode("ascii") + b"\n"


def _pad(places: "array[int]", length: int) -> None:
    places.extend([ABSENT] * (length - len(places)))


def _append_video(
    document: JsonDocument,
    item: ItemResult,
    results: ResultReader,
    categories: Categories,
    spool_path: Path,
) -> None:
    video_id = document.counts["videos"] + 1
    try:
        with open_temporary(spool_path) as spool:
            tracks = _Tracks(item, spool)
            for frame_idx, masks in frames_of(item, results):
                tracks.add(frame_idx, masks)
            document.append("videos", _video_json(video_id, item, tracks.frames))
            for record in item.objects:
                if tracks.summaries[record.obj_id].frames:
                    ids = {
                        "id": document.counts["annotations"] + 1,
                        "video_id": video_id,
                        "category_id": categories.id_of(record),
                    }
                    head = ids | _track_json(item, record, tracks)
                    document.append_chunks("annotations", _entry(head, record, tracks))
    finally:
        spool_path.unlink(missing_ok=True)


def _entry(head: dict[str, object], record: ObjectRecord, tracks: _Tracks) -> Iterator[str]:
    yield dump_json(head).removesuffix("}")
    for number, column in enumerate(COLUMNS):
        yield f',"{column}":'
        yield from tracks.column(record.obj_id, number)
    yield "}"


def _video_json(video_id: int, item: ItemResult, frames: "array[int]") -> dict[str, object]:
    names = FrameNames(item)
    return {
        "id": video_id,
        "name": item.item_id,
        "file_names": [f"{item.item_id}/{names.file(frame_idx)}" for frame_idx in frames],
        "frame_idxs": frames.tolist(),
        "height": item.height,
        "width": item.width,
        "length": len(frames),
    }


def _track_json(item: ItemResult, record: ObjectRecord, tracks: _Tracks) -> dict[str, object]:
    """All but the lists; the scores are those of the best frame."""
    best = tracks.summaries[record.obj_id].best
    assert best is not None  # it is in some frame
    answer = next((a for a in item.answers if a.prompt_idx == record.prompt_idx), None)
    sentence, presence = (answer.prompt, answer.presence) if answer else (record.label, None)
    sizes = {"height": item.height, "width": item.width, "length": len(tracks.frames), "iscrowd": 0}
    return sizes | object_json(record, best, sentence, presence)
