"""Binary masks: NumPy arrays (H, W) of bool in memory, COCO's compressed run lengths at rest."""

from typing import TypedDict

import cv2
import numpy as np
from pycocotools import mask as coco_mask


class Rle(TypedDict):
    """Compressed COCO RLE: runs down the columns, as the string that pycocotools reads."""

    size: list[int]  # [height, width]
    counts: str


def encode_rle(mask: np.ndarray) -> Rle:
    """(H, W) bool -> run lengths. Raises ValueError for any other number of dimensions."""
    height, width = mask.shape
    rows = np.ascontiguousarray(mask, dtype=bool).view(np.uint8)
    # pycocotools wants whole columns; OpenCV turns a large mask ten times as fast as NumPy.
    columns = cv2.transpose(rows) if rows.size else rows.T
    rle = coco_mask.encode(columns.T)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def decode_rle(rle: Rle) -> np.ndarray:
    """Run lengths -> (H, W) bool."""
    return np.asarray(coco_mask.decode(_as_bytes(rle)), dtype=bool)


def rle_area(rle: Rle) -> int:
    """Number of pixels in the mask."""
    return int(coco_mask.area(_as_bytes(rle)))


def rle_bbox(rle: Rle) -> list[int]:
    """COCO box (x, y, width, height) in pixels; [0, 0, 0, 0] for an empty mask."""
    return [int(side) for side in coco_mask.toBbox(_as_bytes(rle))]


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two (H, W) bool masks; 1.0 when both are empty."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def _as_bytes(rle: Rle) -> dict[str, object]:
    return {"size": rle["size"], "counts": rle["counts"].encode("ascii")}
