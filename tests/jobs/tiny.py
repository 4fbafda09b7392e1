"""A model so small that it needs no torch, for tests of everything around the model.

Its answers hang on the picture and the questions alone: one mask for each prompt, the pixels
that are brighter than a threshold made of the prompt. The colour of a picture's first pixel can
make the worker hang, die, or run out of memory.
"""

import os
import signal
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sa2va_cli.errors import CheckpointError
from sa2va_cli.results import (
    Answer,
    Footage,
    FrameMasks,
    Naming,
    Prediction,
    Question,
    TrackedMasks,
    VideoOptions,
    WindowLook,
)

POISON = {
    "die": 201,
    "hang": 202,
    "oom": 203,
    "bug": 204,
    "encode": 205,
}  # colour of the first pixel


@dataclass(frozen=True)
class TinyAnnotator:
    seconds: float = 0.0  # an item takes

    def answer_image(self, image: np.ndarray, questions: Sequence[Question]) -> list[Prediction]:
        time.sleep(self.seconds)
        _suffer(int(image[0, 0, 0]))
        return [
            Prediction(_answer(question), (_masks(0, image, [question]),)) for question in questions
        ]

    def answer_video(
        self,
        frames: Iterable[np.ndarray],
        questions: Sequence[Question],
        options: VideoOptions,
        num_frames: int,
    ) -> "TinyVideoAnswers":
        return TinyVideoAnswers(self.seconds, frames, questions)

    def answer_windows(
        self,
        footage: Footage,
        questions: Sequence[Question],
        options: VideoOptions,
        naming: Naming,
        state: bytes,
    ) -> Iterator[WindowLook | TrackedMasks]:
        """Windows without overlap. Each names one object more than the one before."""
        length = options.window or len(footage)
        window = int(state or b"0")
        for at, frame in footage.read(window * length):
            if at // length >= window and at % length == 0:
                answers = tuple(_answer(question) for question in questions)
                obj_ids = tuple(i + 1 + window for i in range(len(questions)))
                yield WindowLook(window, at, answers, obj_ids, b"%d" % window if window else b"")
                window += 1
            time.sleep(self.seconds)
            masks = _masks(at, frame, questions)
            yield TrackedMasks(tuple(i + window for i in range(len(questions))), masks)


@dataclass(frozen=True)
class TinyVideoAnswers:
    seconds: float
    frames: Iterable[np.ndarray]
    questions: Sequence[Question]

    @property
    def answers(self) -> list[Answer]:
        return [_answer(question) for question in self.questions]

    def __iter__(self) -> Iterator[FrameMasks]:
        for frame_idx, frame in enumerate(self.frames):
            time.sleep(self.seconds)
            yield _masks(frame_idx, frame, self.questions)


@dataclass(frozen=True)
class TinyLoader:
    seconds: float = 0.0
    broken: str = ""

    def __call__(self, device: str) -> TinyAnnotator:
        if self.broken == "exit":
            os._exit(7)
        if self.broken == "weights":
            raise CheckpointError("Tensor 'x' has the shape (1,).", hint="download it again")
        return TinyAnnotator(self.seconds)


@dataclass(frozen=True)
class TinySource:
    """The ModelSource of these tests."""

    seconds: float = 0.0
    broken: str = ""
    revision: str = "tiny-1"

    def prepare(self) -> tuple[str, TinyLoader]:
        return self.revision, TinyLoader(self.seconds, self.broken)


def write_pictures(folder: Path, count: int, size: int = 16) -> list[Path]:
    """Small pictures that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 200, (size, size + 4, 3), np.uint8)
        path = folder / f"{index:05d}.png"
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def write_poison(path: Path, kind: str, size: tuple[int, int] = (8, 8)) -> Path:
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[0, 0] = POISON[kind]
    Image.fromarray(pixels).save(path)
    return path


def _answer(question: Question) -> Answer:
    return Answer("Sure, [SEG].<|im_end|>", (0.75,))


def _masks(frame_idx: int, image: np.ndarray, questions: Sequence[Question]) -> FrameMasks:
    thresholds = [zlib.crc32(question.text.encode()) % 150 for question in questions]
    masks = np.stack([image[..., 0] > threshold for threshold in thresholds])
    if image[0, 0, 0] == POISON["encode"]:
        masks = masks[..., 0]  # goes wrong behind the model
    scores = masks.mean(tuple(range(1, masks.ndim)), dtype=np.float32)
    return FrameMasks(frame_idx, masks, scores, scores)


def _suffer(colour: int) -> None:
    if colour == POISON["die"]:
        os.kill(os.getpid(), signal.SIGKILL)
    if colour == POISON["hang"]:
        time.sleep(3600)
    if colour == POISON["oom"]:
        raise MemoryError("no room for 3 TB")
    if colour == POISON["bug"]:
        raise RuntimeError("CUDA error: device-side assert triggered")
