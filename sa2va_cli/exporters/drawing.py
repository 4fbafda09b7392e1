"""Masks drawn over a picture: tinted, outlined for light and dark ground, and named."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from sa2va_cli.exporters.labels import Label, LabelStyle, draw_label, place_labels
from sa2va_cli.exporters.palette import Colour

FILL = 0.38  # how much of the object's colour covers it
DARK = (18, 18, 18)
GREY: Colour = (92, 92, 98)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One object of a picture, ready to draw."""

    mask: np.ndarray  # (H, W) bool, not empty
    colour: Colour
    text: str
    score: str = ""  # shown behind the text, never elided


def draw_overlay(
    pixels: np.ndarray, objects: Sequence[Drawn], footer: Sequence[str] = ()
) -> np.ndarray:
    """(H, W, 3) uint8 RGB with the objects drawn over it, small ones above large ones.

    `footer` are lines for what has no place in the picture, such as what was not found.
    """
    canvas = np.ascontiguousarray(pixels).copy()
    for drawn in sorted(objects, key=lambda drawn: -int(drawn.mask.sum())):
        _draw_mask(canvas, drawn)
    style = LabelStyle.for_picture(canvas.shape[0], canvas.shape[1], len(objects))
    if style is None:  # too small to write in
        return canvas
    boxes = [cv2.boundingRect(drawn.mask.astype(np.uint8)) for drawn in objects]
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    labels = [Label.of(drawn.text, drawn.score, drawn.colour, style) for drawn in objects]
    notes = [Label.of(line, "", GREY, style) for line in footer]
    spots = place_labels(labels, boxes, [drawn.mask for drawn in objects], notes)
    for label, (x, y) in zip(labels + notes, spots, strict=True):
        draw_label(pen, label, x, y)
    return np.asarray(picture)


def _draw_mask(canvas: np.ndarray, drawn: Drawn) -> None:
    mask = drawn.mask.astype(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    area = (slice(y, y + height), slice(x, x + width))
    tinted = canvas[area] * (1 - FILL) + np.array(drawn.colour) * FILL
    np.copyto(canvas[area], tinted.astype(np.uint8), where=drawn.mask[area][..., None])
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    line = max(1, round(min(canvas.shape[:2]) / 260))
    cv2.drawContours(canvas, contours, -1, DARK, line + 2 * max(1, line // 2), cv2.LINE_AA)
    cv2.drawContours(canvas, contours, -1, drawn.colour, line, cv2.LINE_AA)
