"""Labels on pictures: wrapped, elided, and placed where they cover each other least."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from PIL import ImageDraw, ImageFont

from sa2va_cli.exporters.palette import Colour, text_colour

LATIN_END = "\u0250"  # Pillow's own font has the letters before it
WIDE_FONTS = (  # most scripts first; Linux, macOS, Windows
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "malgun.ttf",
    "DejaVuSans.ttf",
)
ELLIPSIS = "…"
MAX_LINES = 2
STAY = 0.5  # how much better, in areas hidden, another place must be for a label to move
Box = tuple[int, int, int, int]  # x, y, width, height
Corner = tuple[int, int]  # x, y
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

    def that_draws(self, text: str) -> "LabelStyle":
        """The same, with a font of this machine for letters that Pillow's own does not have."""
        if all(letter < LATIN_END or letter == ELLIPSIS for letter in text):
            return self
        path = _wide_font_path()
        if path is None or not isinstance(self.font, ImageFont.FreeTypeFont):
            return self  # such letters are drawn as boxes
        return replace(self, font=ImageFont.truetype(path, self.font.size))


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
        text = printable(text)
        style = style.that_draws(text)
        lines = wrap(text, suffix, style)
        ascent, descent = _metrics(style.font)
        width = max(round(style.font.getlength(line)) for line in lines) + 2 * style.padding
        height = len(lines) * (ascent + descent) + style.padding
        return cls(lines, colour, style, width, height, ascent + descent)


@dataclass(frozen=True, slots=True)
class Place:
    corner: Corner  # top left
    number: int  # which of the places around an object


class Memory:
    """Where the labels of a video stood in the frame before."""

    def __init__(self, num_objects: int) -> None:
        self.num_objects = num_objects  # in the whole video: sets the size of letters
        self._places: dict[int, int] = {}

    def at(self, obj_id: int) -> int | None:
        return self._places.get(obj_id)

    def put(self, obj_id: int, number: int) -> None:
        self._places[obj_id] = number


def draw_label(pen: ImageDraw.ImageDraw, label: Label, corner: Corner) -> Box:
    """The box that it covers."""
    x, y = corner
    style = label.style
    end = (x + label.width - 1, y + label.height - 1)
    pen.rounded_rectangle((corner, end), style.padding, fill=label.colour, outline=(18, 18, 18))
    for number, line in enumerate(label.lines):
        start = (x + style.padding, y + style.padding // 2 + number * label.line_height)
        pen.text(start, line, font=style.font, fill=text_colour(label.colour))
    return (x, y, label.width, label.height)


def find_place(
    label: Label,
    mask: np.ndarray,
    taken: Sequence[Box],
    others: Sequence[np.ndarray],
    before: int | None,
) -> Place:
    """Of the places around an object, the one that hides least of labels and other objects.

    `before` is the number of the place in the frame before: it is left only for a better one.
    """
    box = cv2.boundingRect(mask.astype(np.uint8))
    places = [Place(corner, number) for number, corner in enumerate(_corners(label, box))]

    def cost(place: Place) -> tuple[float, int]:
        stay = STAY if place.number == before else 0.0
        hidden = _hidden(label, place.corner, taken, others, mask)
        return hidden - stay, place.number

    return min(places, key=cost)


def stack_notes(notes: Sequence[Label]) -> list[tuple[Label, Corner]]:
    """Notes at the bottom left, the first one lowest."""
    stacked = []
    bottom = 0
    for note in notes:
        gap = note.style.padding
        bottom += note.height + gap
        stacked.append((note, (gap, max(note.style.picture[0] - bottom, 0))))
    return stacked


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
        # at least one word goes to the last line, where the suffix has room
        count = min(_words_that_fit(rest, style), max(len(rest) - 1, 1))
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


def _corners(label: Label, box: Box) -> list[Corner]:
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


def _hidden(
    label: Label,
    corner: Corner,
    taken: Sequence[Box],
    others: Sequence[np.ndarray],
    own: np.ndarray,
) -> float:
    """How much a label here would hide, in its own areas: labels weigh most, then other
    objects, then its own."""
    x, y = corner
    labels = sum(_overlap((x, y, label.width, label.height), box) for box in taken)
    window = (slice(y, y + label.height), slice(x, x + label.width))
    objects = sum(int(mask[window].sum()) for mask in others)
    itself = int(own[window].sum())
    return (10 * labels + 2 * objects + 0.4 * itself) / (label.width * label.height)


def _overlap(a: Box, b: Box) -> int:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


@cache
def _wide_font_path() -> str | None:
    """Where a font for most scripts lies; the search goes through all font folders."""
    for name in WIDE_FONTS:
        try:
            font = ImageFont.truetype(name)
        except OSError:
            continue
        return str(font.path)
    return None


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _metrics(font: Font) -> tuple[int, int]:
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.getmetrics()
    return 11, 0  # Pillow built without FreeType has one bitmap font
