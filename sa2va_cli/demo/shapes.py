"""One drawn shape: what it looks like, in words and in pixels."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (215, 40, 40),
    "green": (40, 165, 60),
    "blue": (45, 80, 225),
    "yellow": (240, 215, 45),
    "purple": (150, 55, 190),
    "orange": (245, 140, 30),
    "cyan": (60, 205, 215),
    "white": (240, 240, 240),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
SIZES = ("small", "large")
FILLS = ("solid", "striped", "dotted")
RADII = {"small": (0.075, 0.095), "large": (0.14, 0.18)}  # parts of sqrt(width * height)
SUPERSAMPLING = 3


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape in a picture. Lengths are pixels, angles radians."""

    shape: str
    color: str
    size: str
    fill: str
    x: float
    y: float
    radius: float
    angle: float
    rgb: tuple[float, float, float]
    pattern: tuple[float, float, bool]  # direction, phase, and whether the pattern is darker

    @property
    def words(self) -> tuple[str, str, str, str]:
        """Size, fill, color and shape: the order in which they are said."""
        return self.size, self.fill, self.color, self.shape


def outline(shape: str, radius: float, angle: float) -> np.ndarray:
    """(corners, 2) around the origin, for the shapes that have corners."""
    if shape == "cross":
        w = 0.34
        quarter = [(-w, -1.0), (w, -1.0), (w, -w)]
        corners = np.array([_turned(point, k * math.pi / 2) for k in range(4) for point in quarter])
        radii, angles = np.hypot(*corners.T), np.arctan2(corners[:, 1], corners[:, 0])
    elif shape == "star":
        angles = (np.arange(10) * 36 - 90) * math.pi / 180
        radii = np.where(np.arange(10) % 2 == 0, 1.15, 0.5)
    elif shape == "triangle":
        angles, radii = np.array([-90, 30, 150]) * math.pi / 180, np.full(3, 1.15)
    else:
        angles, radii = np.array([45, 135, 225, 315]) * math.pi / 180, np.full(4, 1.12)
    angles = angles + angle
    return radius * np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)


def _turned(point: tuple[float, float], angle: float) -> tuple[float, float]:
    cos, sin = math.cos(angle), math.sin(angle)
    return point[0] * cos - point[1] * sin, point[0] * sin + point[1] * cos


def coverage_patch(thing: Thing) -> tuple[np.ndarray, int, int]:
    """(n, n) float32: how much of each pixel the shape covers; and the patch's left and top."""
    reach = math.ceil(thing.radius * 1.2) + 1
    left, top = math.floor(thing.x) - reach, math.floor(thing.y) - reach
    side, s, shift = 2 * reach + 1, SUPERSAMPLING, 4
    canvas = np.zeros((side * s, side * s), np.uint8)
    fixed = s << shift
    center = round((thing.x - left) * fixed), round((thing.y - top) * fixed)
    if thing.shape in ("circle", "ring"):
        cv2.circle(canvas, center, round(thing.radius * fixed), 255, -1, cv2.LINE_8, shift)
        if thing.shape == "ring":
            hole = round(thing.radius * 0.52 * fixed)
            cv2.circle(canvas, center, hole, 0, -1, cv2.LINE_8, shift)
    else:
        corners = outline(thing.shape, thing.radius * fixed, thing.angle) + center
        cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], 255, cv2.LINE_8, shift)
    covered = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    return covered.astype(np.float32) / 255, left, top


def color_patch(thing: Thing, side: int) -> np.ndarray:
    """(side, side, 3) float32: the fill, before it is cut to the shape."""
    rgb = np.array(thing.rgb, np.float32)
    if thing.fill == "solid":
        return np.broadcast_to(rgb, (side, side, 3))
    direction, phase, darker = thing.pattern
    other = rgb * 0.35 if darker or thing.color == "white" else rgb * 0.35 + 255 * 0.65
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) - side / 2
    unit = max(thing.radius / (9.0 if thing.size == "small" else 18.0), 0.5)
    if thing.fill == "striped":
        along = columns * math.cos(direction) + rows * math.sin(direction)
        marked = (along / (5.0 * unit) + phase) % 1.0 < 0.45
    else:
        across = (columns / (6.0 * unit) + phase) % 1.0 - 0.5
        down = (rows / (6.0 * unit) + phase) % 1.0 - 0.5
        marked = across**2 + down**2 < 0.085
    return np.where(marked[..., None], other, rgb)


def paint(canvas: np.ndarray, owners: np.ndarray, thing: Thing, owner: int) -> int:
    """Draws on canvas (H, W, 3) float32, marks owners (H, W), returns the whole shape's pixels."""
    covered, left, top = coverage_patch(thing)
    side = len(covered)
    height, width = owners.shape
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    whole = int((covered > 0.5).sum())
    if x1 <= x0 or y1 <= y0:
        return whole
    inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = covered[inside][..., None]
    area = canvas[y0:y1, x0:x1]
    area += (color_patch(thing, side)[inside] - area) * alpha
    owners[y0:y1, x0:x1][covered[inside] > 0.5] = owner
    return whole
