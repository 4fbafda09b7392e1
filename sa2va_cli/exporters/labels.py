"""Labels on pictures: wrapped, elided, and placed where they cover each other least."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw, ImageFont

from sa2va_cli.exporters.palette import Colour, text_colour

ELLIPSIS = "…"
MAX_LINES = 2
Box = tuple[int, int, int, int]  # x, y, width, height
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


@dataclass(frozen=True, slots=True)
class LabelStyle:
    """Sizes in pixels that suit one picture."""

    font: Font
    padding: int
    max_width: int  # of the text
    picture: tuple[int, int]  # height, width

    @classmethod
    def for_picture(cls, height: int, width: int, count: int) -> "LabelStyle | None":
        """None when the picture is too small for letters that can be read."""
        if min(height, width) < 48:
            return None
        crowd = 0.8 if count > 12 else 1.0
        size = min(max(round(min(height, width) * 0.036 * crowd), 11), 64)
        room = width - size
        return cls(
            _font(size), max(2, size // 4), min(max(size * 14, width // 3), room), (height, width)
        )


@dataclass(frozen=True, slots=True)
class Label:
    """A text in lines that fit, and the box that it needs."""

    lines: tuple[str, ...]
    colour: Colour
    style: LabelStyle
    width: int
    height: int
    line_height: int

    @classmethod
    def of(cls, text: str, suffix: str, colour: Colour, style: LabelStyle) -> "Label":
        lines = wrap(printable(text), suffix, style)
        ascent, descent = _metrics(style.font)
        width = max(round(style.font.getlength(line)) for line in lines) + 2 * style.padding
        height = len(lines) * (ascent + descent) + style.padding
        return cls(lines, colour, style, width, height, ascent + descent)


def draw_label(pen: ImageDraw.ImageDraw, label: Label, x: int, y: int) -> None:
    corner = (x + label.width - 1, y + label.height - 1)
    radius = label.style.padding
    pen.rounded_rectangle(((x, y), corner), radius, fill=label.colour, outline=(18, 18, 18))
    for number, line in enumerate(label.lines):
        top = y + label.style.padding // 2 + number * label.line_height
        pen.text(
            (x + label.style.padding, top),
            line,
            font=label.style.font,
            fill=text_colour(label.colour),
        )


def place_labels(
    labels: Sequence[Label],
    boxes: Sequence[Box],
    masks: Sequence[np.ndarray],
    notes: Sequence[Label],
) -> list[tuple[int, int]]:
    """Top left corners for the labels, each near its object's box, then for the notes.

    Each label takes, of the places around its object, the one that hides least of the labels
    before it and of other objects. Notes stand at the bottom left.
    """
    taken: list[Box] = []
    note_spots = _stack_notes(notes)
    taken += [
        (x, y, note.width, note.height) for note, (x, y) in zip(notes, note_spots, strict=True)
    ]
    spots = []
    for number, (label, box) in enumerate(zip(labels, boxes, strict=True)):
        others = [other for i, other in enumerate(masks) if i != number]
        places = _places(label, box)
        x, y = min(places, key=lambda place: _cost(label, place, taken, others, places))
        taken.append((x, y, label.width, label.height))
        spots.append((x, y))
    return spots + note_spots


def wrap(text: str, suffix: str, style: LabelStyle) -> tuple[str, ...]:
    """At most MAX_LINES lines of at most `style.max_width` pixels; the text is elided to fit.

    The suffix (a score) stands behind the text and is always there.
    """
    suffix = f"  {suffix}" if suffix else ""
    lines: list[str] = []
    rest = text.split() or ["?"]
    while rest:
        line = " ".join(rest)
        if _fits(line + suffix, style) or len(lines) == MAX_LINES - 1:
            lines.append(_elide(line, suffix, style))
            break
        count = _words_that_fit(rest, style)
        lines.append(_elide(" ".join(rest[:count]), "" if rest[count:] else suffix, style))
        rest = rest[count:]
    return tuple(lines)


def printable(text: str) -> str:
    """The text on one line; what no font can draw becomes a visible replacement."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _words_that_fit(words: list[str], style: LabelStyle) -> int:
    count = 1
    while count < len(words) and _fits(" ".join(words[: count + 1]), style):
        count += 1
    return count


def _elide(text: str, suffix: str, style: LabelStyle) -> str:
    text = text[:200]  # no label is longer; keeps measuring quick
    if _fits(text + suffix, style):
        return text + suffix
    while text and not _fits(text + ELLIPSIS + suffix, style):
        text = text[:-1]
    return text.rstrip() + ELLIPSIS + suffix


def _fits(text: str, style: LabelStyle) -> bool:
    return style.font.getlength(text) <= style.max_width


def _stack_notes(notes: Sequence[Label]) -> list[tuple[int, int]]:
    spots = []
    bottom = 0
    for note in notes:
        gap = note.style.padding
        bottom += note.height + gap
        spots.append((gap, max(note.style.picture[0] - bottom, 0)))
    return spots


def _places(label: Label, box: Box) -> list[tuple[int, int]]:
    """Places around and in the box, the best first, moved into the picture."""
    x, y, width, height = box
    gap = label.style.padding
    middle_x, middle_y = x + (width - label.width) // 2, y + (height - label.height) // 2
    above, below = y - label.height - gap, y + height + gap
    right, left = x + width + gap, x - label.width - gap
    inner_right, inner_bottom = x + width - label.width - gap, y + height - label.height - gap
    wanted = [
        (x, above), (middle_x, above), (inner_right, above),
        (x + gap, y + gap), (middle_x, y + gap), (inner_right, y + gap),
        (x, below), (middle_x, below), (inner_right, below),
        (middle_x, middle_y), (x + gap, middle_y), (inner_right, middle_y),
        (x + gap, inner_bottom), (middle_x, inner_bottom), (inner_right, inner_bottom),
        (right, y), (left, y), (right, middle_y), (left, middle_y),
        (right, inner_bottom), (left, inner_bottom),
    ]  # fmt: skip
    picture_height, picture_width = label.style.picture
    return [
        (
            min(max(place_x, 0), max(picture_width - label.width, 0)),
            min(max(place_y, 0), max(picture_height - label.height, 0)),
        )
        for place_x, place_y in wanted
    ]


def _cost(
    label: Label,
    place: tuple[int, int],
    taken: Sequence[Box],
    others: Sequence[np.ndarray],
    places: Sequence[tuple[int, int]],
) -> tuple[float, int]:
    x, y = place
    hidden_labels = sum(_overlap((x, y, label.width, label.height), box) for box in taken)
    window = (slice(y, y + label.height), slice(x, x + label.width))
    hidden_objects = sum(int(mask[window].sum()) for mask in others)
    area = label.width * label.height
    return (10 * hidden_labels + 2 * hidden_objects) / area, places.index(place)


def _overlap(a: Box, b: Box) -> int:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _metrics(font: Font) -> tuple[int, int]:
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.getmetrics()
    return 11, 0  # Pillow built without FreeType has one bitmap font
