"""Small results that have everything in them, and a reader of them that needs no job."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image

from sa2va_cli.masks import encode_rle
from sa2va_cli.results import AnswerRecord, Failure, FrameRun, ItemResult, MaskRecord, ObjectRecord


@dataclass(frozen=True)
class MemoryResults:
    """A ResultReader over lists, whatever their order was."""

    results: Sequence[tuple[ItemResult, Sequence[MaskRecord]]]
    failed: Sequence[Failure] = ()

    def items(self) -> Iterator[ItemResult]:
        return iter(sorted((item for item, _ in self.results), key=lambda item: item.item_id))

    def masks(self, item_id: str) -> Iterator[MaskRecord]:
        found = next(masks for item, masks in self.results if item.item_id == item_id)
        return iter(sorted(found, key=lambda mask: (mask.frame_idx, mask.obj_id)))

    def failures(self) -> Iterator[Failure]:
        return iter(sorted(self.failed, key=lambda failure: failure.item_id))


def answer(prompt_idx, category, prompt):
    return AnswerRecord(
        prompt_idx=prompt_idx,
        category=category,
        prompt=prompt,
        question=f"<image>\n Please segment {prompt} in this image.",
        text="Sure, it is.",
        raw_text="Sure, it is [SEG].<|im_end|>",
    )


def found(obj_id, prompt_idx, category, label):
    return ObjectRecord(obj_id, prompt_idx, category, label, seg_probability=0.9990001)


def seen(obj_id, mask, score=0.9, frame_idx=0):
    return MaskRecord(frame_idx, obj_id, encode_rle(mask), score, object_score=0.75)


def box(shape, x, y, width, height):
    mask = np.zeros(shape, dtype=bool)
    mask[y : y + height, x : x + width] = True
    return mask


def ring(shape, x, y, radius, hole):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - y, columns - x)
    return (distance <= radius) & (distance > hole)


CAR, TRUCK = answer(0, "car", "the red car"), answer(1, "car", "the truck")
DOG = answer(2, "dog", "every dog")
SHAPE = (120, 160)  # H, W of the images
VIDEO_SHAPE = (48, 65)  # an odd width


def image_results():
    """a.jpg in two folders and in two formats; holes, parts, a mask that is empty, no object."""
    scene = ring(SHAPE, 60, 60, 40, 20) | box(SHAPE, 120, 5, 30, 20) | box(SHAPE, 0, 0, 1, 1)
    nothing = np.zeros(SHAPE, dtype=bool)
    base = ItemResult("", "", "image", *SHAPE, answers=(CAR, TRUCK, DOG))
    objects = (
        found(1, 0, "car", "the red car"),
        found(2, 1, "car", "the truck"),
        found(3, 2, "dog", "every dog"),
        found(4, 2, "dog", "every dog"),
    )
    full = [
        seen(1, scene, score=0.95),
        seen(2, nothing, score=0.2),
        seen(3, box(SHAPE, 10, 90, 50, 30), score=float(np.float32(0.7))),
        seen(4, ring(SHAPE, 110, 80, 25, 8), score=0.4),
    ]
    one = [seen(1, box(SHAPE, 1, 1, 10, 5), score=0.6)]
    return [
        (replace(base, item_id="b/a.jpg", objects=objects), full),
        (replace(base, item_id="a.jpg", objects=objects[:1]), one),
        (replace(base, item_id="a.png", objects=objects[1:2]), [seen(2, nothing, score=0.1)]),
        (replace(base, item_id="no objects.jpg"), []),
    ]


def video_results(num_frames=6):
    """clip.mp4: a square that moves and overlaps another that leaves; frame 0 to num_frames."""
    item = ItemResult(
        "v/clip.mp4", "", "video", *VIDEO_SHAPE, num_frames=num_frames, fps=12.5,
        answers=(CAR, DOG),
        objects=(found(1, 0, "car", "the red car"), found(2, 2, "dog", "every dog")),
        frames=(FrameRun(0, 1, num_frames),),
    )  # fmt: skip
    masks = []
    for frame_idx in range(num_frames):
        masks.append(seen(1, box(VIDEO_SHAPE, 2 + 4 * frame_idx, 10, 20, 20), 0.8, frame_idx))
        there = box(VIDEO_SHAPE, 20, 20, 25, 20) & (frame_idx < 4)
        masks.append(seen(2, there, 0.9 if frame_idx < 2 else 0.7, frame_idx))
    return [(item, masks)]


def every(step, item, masks):
    """The same video, of which only every so-manieth frame was looked at."""
    frames = (FrameRun(0, step, item.num_frames),)
    masks = [replace(mask, frame_idx=mask.frame_idx * step) for mask in masks]
    return replace(item, frames=frames), masks


@pytest.fixture
def photos(tmp_path):
    """Images with real files behind them."""
    folder = tmp_path / "photos"
    results = []
    for number, (item, masks) in enumerate(image_results()):
        path = folder / item.item_id
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(80, 120, (*SHAPE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        results.append((replace(item, path=str(path)), masks))
    return MemoryResults(results, (Failure("bad.jpg", "/in/bad.jpg", "it is truncated", 2),))


@pytest.fixture
def clip():
    """One video, without a file."""
    return MemoryResults(video_results())


@pytest.fixture
def make():
    """The builders, for tests that need results of their own."""
    return Builders


class Builders:
    results = MemoryResults
    answer = staticmethod(answer)
    found = staticmethod(found)
    seen = staticmethod(seen)
    box = staticmethod(box)
    ring = staticmethod(ring)
    image_results = staticmethod(image_results)
    video_results = staticmethod(video_results)
    every = staticmethod(every)
