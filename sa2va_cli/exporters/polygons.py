"""Masks as polygons: every part is kept, holes are cut open, and the pixels come back."""

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from sa2va_cli.masks import Rle, decode_rle, mask_iou, rle_bbox

MIN_IOU = 0.99  # of the polygons, filled again, with the mask
MAX_CHECKED = 300  # parts; noise has thousands, and to fill or to compare them takes minutes
COMPARED = 2**17  # pairs of points at a time: with all of them, outlines would cost their square
TOLERANCES = (1.0, 0.5, 0.25)  # pixels that a simplified outline may stray, coarse first


def mask_polygons(rle: Rle) -> list[np.ndarray]:
    """Polygons whose union is the mask: float arrays (points, 2) of x, y on pixel edges.

    A part with holes is cut, at the columns of its holes, into parts without, so that every
    consumer that unites polygons gets the mask; bridges to holes would confuse some of them.
    """
    x, y, width, height = rle_bbox(rle)
    if not width or not height:
        return []
    mask = decode_rle(rle)[y : y + height, x : x + width]
    outlines = [outline for part in _cut_holes(mask) for outline in _outlines(part)]
    return [outline + np.array((x, y)) for outline in _simplify(outlines, mask)]


def coco_polygons(rle: Rle) -> list[list[float]]:
    """The polygons as COCO writes them: [x, y, x, y, …], one list a part."""
    return [[round(float(c), 2) for c in polygon.ravel()] for polygon in mask_polygons(rle)]


def joined_polygon(rle: Rle) -> np.ndarray:
    """One polygon (points, 2) for formats that know no more: parts joined, holes filled.

    Parts are joined where they are nearest, there and back along the same line; those of noise,
    of which there are too many to compare, in a chain.
    """
    x, y, width, height = rle_bbox(rle)
    mask = decode_rle(rle)[y : y + height, x : x + width]
    parts = [_approximate(outline, TOLERANCES[-1]) for outline in _outlines((mask, 0))]
    if len(parts) > MAX_CHECKED:
        return _chain(parts) + np.array((x, y))
    filled, *others = sorted(parts, key=lambda points: -len(points))
    for other in others:
        filled = _join(filled, other)
    return filled + np.array((x, y))


def _chain(parts: list[np.ndarray]) -> np.ndarray:
    """From the first point of each part to that of the next, and back the same way."""
    around = [np.concatenate((part, part[:1])) for part in parts]
    back = [part[:1] for part in reversed(parts[:-1])]
    return np.concatenate((*around, *back))


def _join(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    here, there = _nearest(one, other)
    around = np.concatenate((other[there:], other[: there + 1]))
    return np.concatenate((one[: here + 1], around, one[here:]))


def _nearest(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Which point of each is nearest to the other; of several pairs, the first."""
    best, least = (0, 0), np.inf
    rows = max(1, COMPARED // len(other))
    for start in range(0, len(one), rows):
        distances = ((one[start : start + rows, None] - other) ** 2).sum(axis=-1)  # (rows, points)
        here, there = divmod(int(distances.argmin()), len(other))
        if distances[here, there] < least:
            best, least = (start + here, there), distances[here, there]
    return best


def fill_polygons(polygons: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """(H, W) bool: the union of polygons as pycocotools fills them."""
    flat = [polygon.astype(float).ravel().tolist() for polygon in polygons]
    if not flat:
        return np.zeros((height, width), dtype=bool)
    merged = coco_mask.merge(coco_mask.frPyObjects(flat, height, width))
    return np.asarray(coco_mask.decode(merged), dtype=bool)


def _cut_holes(mask: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Hole-free strips of the mask, each with its first column."""
    open_strips, whole_strips = [(mask, 0)], []
    while open_strips:
        strip, left = open_strips.pop()
        holes = _hole_columns(strip)
        if not holes:
            whole_strips.append((strip, left))
            continue
        cut = holes[len(holes) // 2]  # the middle one: halves the work, and the recursion
        open_strips += [(strip[:, cut:], left + cut), (strip[:, :cut], left)]
    return whole_strips


def _hole_columns(mask: np.ndarray) -> list[int]:
    """For each hole, a column boundary that runs through it or along its right edge, sorted."""
    if mask.all():
        return []
    contours, hierarchy = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    columns = []
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0] if contours else [], strict=True):
        if parent >= 0:  # a hole; its contour runs through the pixels around it
            x, _, width, _ = cv2.boundingRect(contour)
            columns.append(x + width // 2)
    return sorted(columns)


def _outlines(part: tuple[np.ndarray, int]) -> list[np.ndarray]:
    """Outlines along pixel edges, of each connected part of a mask without holes.

    Contours run through pixel centres and would lose half a pixel all around. Here each pixel
    becomes a square of 3 x 3 points that shares its rim with its neighbours: halved, the
    contours' coordinates are the pixels' corners.
    """
    mask, left = part
    height, width = mask.shape
    points = np.zeros((2 * height + 1, 2 * width + 1), dtype=np.uint8)
    points[1::2, 1::2] = mask
    points = cv2.dilate(points, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(points, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [contour[:, 0].astype(np.float64) / 2 + np.array((left, 0)) for contour in contours]
    return sorted(outlines, key=lambda outline: (outline[:, 1].min(), outline[:, 0].min()))


def _simplify(outlines: list[np.ndarray], mask: np.ndarray) -> list[np.ndarray]:
    """Fewer points, as long as the filled polygons still are the mask."""
    height, width = mask.shape
    for tolerance in TOLERANCES if len(outlines) <= MAX_CHECKED else ():
        simpler = [_approximate(outline, tolerance) for outline in outlines]
        if mask_iou(fill_polygons(simpler, height, width), mask) >= MIN_IOU:
            return simpler
    return outlines


def _approximate(outline: np.ndarray, tolerance: float) -> np.ndarray:
    points = cv2.approxPolyDP(outline.astype(np.float32)[:, None], tolerance, closed=True)[:, 0]
    return points.astype(np.float64) if len(points) >= 3 else outline
