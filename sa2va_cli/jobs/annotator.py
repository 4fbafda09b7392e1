"""What a job needs of a model: nothing more, so that tests bring their own."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

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


class VideoAnswers(Protocol):
    """The answers at once, the masks as the frames go by."""

    @property
    def answers(self) -> Sequence[Answer]: ...

    def __iter__(self) -> Iterator[FrameMasks]:
        """One for each frame, with all N objects: every [SEG] of all answers, in order."""
        ...


class Annotator(Protocol):
    """A loaded model on one device. Pictures are (H, W, 3) uint8 RGB, upright."""

    def answer_image(
        self, image: np.ndarray, questions: Sequence[Question]
    ) -> Sequence[Prediction]: ...

    def answer_video(
        self,
        frames: Iterable[np.ndarray],
        questions: Sequence[Question],
        options: VideoOptions,
        num_frames: int,
    ) -> VideoAnswers:
        """Frames can be iterated twice; there are `num_frames`, or fewer in a damaged file."""
        ...

    def answer_windows(
        self,
        footage: Footage,
        questions: Sequence[Question],
        options: VideoOptions,
        naming: Naming,
        state: bytes,
    ) -> Iterator[WindowLook | TrackedMasks]:
        """Each window's answers, then its frames. The same again from any window's `state` on."""
        ...


@runtime_checkable
class PreparingAnnotator(Protocol):
    """An annotator, part of whose work on an image other threads can do ahead of it."""

    def prepare(self, image: np.ndarray) -> Any:
        """What `answer_image` and `answer_images` take in place of the image, too."""
        ...


@runtime_checkable
class BatchAnnotator(Protocol):
    """An annotator that can also look at several images at a time."""

    def answer_images(
        self, asked: Sequence[tuple[np.ndarray, Sequence[Question]]]
    ) -> Sequence[Sequence[Prediction]]:
        """Each image with its own questions: as `answer_image` would answer them, one by one."""
        ...


class Loader(Protocol):
    """Makes an Annotator, in the worker's process: it is pickled on its way there."""

    def __call__(self, device: str) -> Annotator:
        """Raises a Sa2vaError if the weights do not make a model: then no worker can."""
        ...


class ModelSource(Protocol):
    """A model that is named, not loaded: what the parent process knows of it."""

    def prepare(self) -> tuple[str, Loader]:
        """Check that it can be loaded, fetch what is missing, all without torch.

        Returns a string that names exactly these weights, and what loads them. Raises
        CheckpointError or UsageError.
        """
        ...
