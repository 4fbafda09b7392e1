"""Masks drawn over a picture: tinted, outlined for light and dark ground, and named."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from sa2va_cli.exporters.labels import (
    Label,
    LabelStyle,
    Memory,
    draw_label,
    find_place,
    stack_notes,
)
from sa2va_cli.exporters.palette import Colour, object_colour

FILL = 0.38  # how much of the object's colour covers it
DARK = (18, 18, 18)
GREY: Colour = (92, 92, 98)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One object of a picture, ready to draw."""

    obj_id: int
    mask: np.ndarray  # (H, W) bool, not empty
    text: str
    score: str = ""  # shown behind the text, never elided


def draw_overlay(
    pixels: np.ndarray,
    objects: Sequence[Drawn],
    footer: Sequence[str] = (),
    memory: Memory | None = None,
    labelled: bool = True,
) -> np.ndarray:
    """(H, W, 3) uint8 RGB with the objects drawn over it, small ones above large ones.

    `footer` are lines for what has no place in the picture, such as what was not found. The
    frames of a video share a `memory`, so that labels stay where they are.
    """
    canvas = np.ascontiguousarray(pixels).copy()
    for drawn in sorted(objects, key=lambda drawn: -int(drawn.mask.sum())):
        _draw_mask(canvas, drawn.mask, object_colour(drawn.obj_id))
    memory = memory or Memory(len(objects))
    style = LabelStyle.for_picture(canvas.shape[0], canvas.shape[1], memory.num_objects)
    if style is None or not labelled:  # too small to write in
        return canvas
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    notes = [Label.of(line, "", GREY, style) for line in footer]
    taken = [draw_label(pen, note, place) for note, place in stack_notes(notes)]
    for drawn in objects:
        label = Label.of(drawn.text, drawn.score, object_colour(drawn.obj_id), style)
        others = [other.mask for other in objects if other is not drawn]
        place = find_place(label, drawn.mask, taken, others, memory.at(drawn.obj_id))
        taken.append(draw_label(pen, label, place.corner))
        memory.put(drawn.obj_id, place.number)
    return np.asarray(picture)


def _draw_mask(canvas: np.ndarray, inside: np.ndarray, colour: Colour) -> None:
    mask = inside.astype(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    area = (slice(y, y + height), slice(x, x + width))
    np.copyto(canvas[area], _tint(canvas[area], colour), where=inside[area][..., None])
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    line = max(1, round(min(canvas.shape[:2]) / 260))
    cv2.drawContours(canvas, contours, -1, DARK, line + 2 * max(1, line // 2), cv2.LINE_AA)
    cv2.drawContours(canvas, contours, -1, colour, line, cv2.LINE_AA)


def _tint(pixels: np.ndarray, colour: Colour) -> np.ndarray:
    """(H, W, 3) uint8, from a table: floating point takes 600 MB for a photo of 12 megapixels."""
    values = np.arange(256)[:, None] * (1 - FILL) + np.array(colour) * FILL  # (256, 3)
    return cv2.LUT(pixels, values.astype(np.uint8)[None])
