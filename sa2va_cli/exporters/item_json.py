"""One finished item as JSON: what scripts read, line by line."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sa2va_cli.exporters.numbers import dump_json, fps_json, score_json
from sa2va_cli.masks import rle_area, rle_bbox
from sa2va_cli.results import AnswerRecord, ItemResult, MaskRecord, ObjectRecord, WindowRecord


def item_json(result: ItemResult, masks: Iterable[MaskRecord]) -> str:
    """One line, without its end: the item, its answers, and its objects with every mask."""
    by_object: dict[int, list[dict[str, Any]]] = {record.obj_id: [] for record in result.objects}
    for mask in masks:
        by_object[mask.obj_id].append(mask_json(mask) | {"rle": mask.rle})
    objects = [
        identity_json(record) | {"prompt_idx": record.prompt_idx, "masks": by_object[record.obj_id]}
        for record in result.objects
    ]
    answers = [answer_json(answer, result) for answer in result.answers]
    return dump_json(header_json(result) | {"answers": answers, "objects": objects})


def header_json(result: ItemResult) -> dict[str, Any]:
    return {
        "item_id": result.item_id,
        "path": result.path,
        "kind": result.kind,
        "height": result.height,
        "width": result.width,
        "num_frames": result.num_frames,
        "fps": fps_json(result.fps),
        "notes": list(result.notes),
    }


def answer_json(answer: AnswerRecord, item: ItemResult) -> dict[str, Any]:
    """With what was said at each window, if the item is a video that was cut into windows."""
    windows = [window for window in item.windows if window.prompt_idx == answer.prompt_idx]
    said = {"windows": [_window_json(window) for window in windows]} if windows else {}
    return {
        "prompt_idx": answer.prompt_idx,
        "category": answer.category,
        "prompt": answer.prompt,
        "question": answer.question,
        "text": answer.text,
        "raw_text": answer.raw_text,
        "presence": _presence_json(answer.presence),
    } | said


def _window_json(window: WindowRecord) -> dict[str, Any]:
    return {
        "frame_idx": window.frame_idx,
        "text": window.text,
        "raw_text": window.raw_text,
        "presence": _presence_json(window.presence),
    }


def _presence_json(presence: float | None) -> float | None:
    return None if presence is None else score_json(presence)


def identity_json(record: ObjectRecord) -> dict[str, Any]:
    return {
        "obj_id": record.obj_id,
        "category": record.category,
        "label": record.label,
        "seg_probability": score_json(record.seg_probability),
    }


def mask_json(mask: MaskRecord) -> dict[str, Any]:
    return {
        "frame_idx": mask.frame_idx,
        "score": score_json(mask.score),
        "object_score": score_json(mask.object_score),
        "area": rle_area(mask.rle),
        "bbox": rle_bbox(mask.rle),
    }


@dataclass(slots=True)
class ObjectSummary:
    """What is known of one object over all frames, without its masks."""

    frames_seen: int = 0  # frames that were looked at
    frames: int = 0  # of these, frames that it is in
    first_frame: int | None = None
    last_frame: int | None = None
    best: MaskRecord | None = None  # of the highest score; an empty one only if all are

    def add(self, mask: MaskRecord) -> None:
        self.frames_seen += 1
        present = rle_area(mask.rle) > 0
        was_present = self.frames > 0
        if present:
            self.frames += 1
            self.first_frame = mask.frame_idx if self.first_frame is None else self.first_frame
            self.last_frame = mask.frame_idx
        if self.best is None or (present, mask.score) > (was_present, self.best.score):
            self.best = mask

    def to_json(self, kind: str) -> dict[str, Any]:
        """Scores, area and box of the best mask; for a video also the frames it is in."""
        best = (
            mask_json(self.best) if self.best else {"score": 0.0, "area": 0, "bbox": [0, 0, 0, 0]}
        )
        found = {"found": self.frames > 0}
        if kind == "image":
            best.pop("frame_idx", None)
            return found | best
        seen = {
            "frames": self.frames,
            "frames_looked_at": self.frames_seen,
            "first_frame": self.first_frame,
            "last_frame": self.last_frame,
        }
        return found | seen | {"best": best}


def summarise(result: ItemResult, masks: Iterable[MaskRecord]) -> dict[int, ObjectSummary]:
    """A summary for each obj_id; reads the masks once and keeps one of each object."""
    summaries = {record.obj_id: ObjectSummary() for record in result.objects}
    for mask in masks:
        summaries[mask.obj_id].add(mask)
    return summaries
