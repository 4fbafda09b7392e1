"""What is measured: pictures and clips of the demo world, and questions about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, cycle, islice

from PIL import Image

from sa2va_cli.config import Prompt
from sa2va_cli.demo.motion import PROMPTED, make_clip
from sa2va_cli.demo.scenes import HELD_OUT_SEED, Scene, make_scene
from sa2va_cli.demo.shapes import COLORS, SHAPES, Thing
from sa2va_cli.errors import UsageError
from sa2va_cli.results import MediaKind, Question
from sa2va_cli.tasks import get_task

KINDS = ("image", "images", "batch", "caption", "video")
SEVERAL = ("images", "batch")  # pictures, with one question about each
PHOTO_SIZE = (640, 480)
MAX_PROMPTS = 64
EARLIER = 8  # pictures that were captioned before the one that is measured
SEED = HELD_OUT_SEED + 2 * 10**6  # others than those of the evaluation and of `make demo`
NAMES = (  # of things, by their attributes
    ("color", "shape"),
    ("size", "color", "shape"),
    ("fill", "color", "shape"),
    ("size", "fill", "color", "shape"),
)
SEGMENT_ANSWER = "Sure, [SEG].<|im_end|>"
CAPTION_WORDS = tuple(f"{color} {shape}" for shape in SHAPES for color in COLORS)


@dataclass(frozen=True, slots=True)
class Work:
    """`image-8`: one image, eight prompts. `images-8`: eight images, one prompt each, as `sa2va
    annotate` goes through a folder. `batch-8`: the same, all at a time, and resized by the clock.
    `caption-6`: a caption, six [SEG] if forced. `video-4`: one clip, four prompts."""

    kind: str
    count: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.count}"

    @property
    def media_kind(self) -> MediaKind:
        return "video" if self.kind == "video" else "image"

    def title(self, frames: int) -> str:
        """For people."""
        if self.kind == "images":
            return f"{self.count} image{'s' * (self.count > 1)}, 1 prompt each"
        if self.kind == "batch":
            return f"{self.count} images at a time, 1 prompt"
        prompts = "1 prompt" if self.count == 1 else f"{self.count} prompts"
        if self.kind == "caption":
            return f"image, caption with {self.count} [SEG]"
        if self.kind == "video":
            return f"video, {frames} frame{'s' * (frames > 1)}, {prompts}"
        return f"image, {prompts}"

    def forced_text(self) -> str:
        """What a model without training is made to answer."""
        if self.kind != "caption":
            return SEGMENT_ANSWER
        words = (CAPTION_WORDS[7 * i % len(CAPTION_WORDS)] for i in range(self.count))
        return ", ".join(f"<p> a {name} </p> [SEG]" for name in words) + ".<|im_end|>"


def parse_works(text: str) -> tuple[Work, ...]:
    """ "image-1,video-5" -> works. Raises UsageError for anything else."""
    return tuple(_parse_work(part.strip()) for part in text.split(","))


@dataclass(frozen=True, slots=True)
class Ready:
    """A work with its pictures and its questions."""

    work: Work
    pictures: tuple[Image.Image, ...]  # one, or the frames of a clip
    questions: tuple[Question, ...]

    def on_one_tile(self, side: int) -> "Ready":
        """The same questions about less: for warming up."""
        small = tuple(picture.resize((side, side)) for picture in self.pictures[: PROMPTED + 1])
        return replace(self, pictures=small)


def make_ready(work: Work, frames: int) -> Ready:
    """Draw what the work is about. A photo has six shapes, and 13 tiles where tiles are of 448."""
    if work.kind == "video":
        drawn = make_clip(SEED, frames)
        pictures = tuple(Image.fromarray(frame) for frame in drawn.frames)
        return Ready(work, pictures, _questions(work, drawn.things))
    with_six = (scene for scene in map(make_scene, count(SEED)) if len(scene.things) == 6)
    scenes = list(islice(with_six, work.count if work.kind in SEVERAL else 1))
    return Ready(work, tuple(map(_photo, scenes)), _questions(work, scenes[0].things))


def earlier_pictures() -> Iterator[Image.Image]:
    """Others than those of any work: what a model says of them tells how it speaks."""
    return (_photo(make_scene(SEED + 10**5 + number)) for number in range(EARLIER))


def _photo(scene: Scene) -> Image.Image:
    return Image.fromarray(scene.image).resize(PHOTO_SIZE, Image.Resampling.BICUBIC)


def _questions(work: Work, things: Sequence[Thing]) -> tuple[Question, ...]:
    if work.kind == "caption":
        return (get_task("caption").question(Prompt("caption", ""), "image"),)
    task = get_task("segment")
    return tuple(
        task.question(Prompt(phrase, phrase), work.media_kind)
        for phrase in islice(_phrases(things), 1 if work.kind in SEVERAL else work.count)
    )


def _phrases(things: Sequence[Thing]) -> Iterator[str]:
    """Names of what is there, in ever more words; in the end they come again."""
    return cycle(
        "the " + " ".join(getattr(thing, word) for word in words)
        for words in NAMES
        for thing in things
    )


def _parse_work(text: str) -> Work:
    kind, _, count = text.partition("-")
    if kind in KINDS and count.isdecimal() and 1 <= int(count) <= MAX_PROMPTS:
        return Work(kind, int(count))
    raise UsageError(
        f"Unknown work {text!r}.",
        hint="write image-8 (prompts), images-8 or batch-8 (pictures), caption-6 ([SEG]s) or "
        f"video-4 (prompts); at most {MAX_PROMPTS}",
    )
