"""What is asked of the model, what it says, and what a job keeps of that.

Memory side (model -> worker): Question, Answer, FrameMasks, Prediction.
Rest side (worker -> store -> exporters): ItemResult, ObjectRecord, AnswerRecord, MaskRecord.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from sa2va_cli.masks import Rle

MediaKind = Literal["image", "video"]
KeySampling = Literal["first", "uniform"]
VideoMode = Literal["auto", "sa2va", "sa2va-i"]


@dataclass(frozen=True, slots=True)
class Question:
    """One exchange with the model about one image or video."""

    text: str  # the full text sent, with <image> where the picture belongs
    past_text: str = ""  # earlier turns, exactly as they were
    mask_prompts: np.ndarray | None = None  # (regions, H, W) bool, any size; images only
    presence: str = ""  # a yes/no question to put beside it, with <image>; "": none


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """Which frames the language model sees and prompts, and how the others are decoded."""

    key_frames: int = 5  # the reference's number
    key_sampling: KeySampling = "first"  # "uniform" spreads them over the whole clip
    mode: VideoMode = "auto"  # "sa2va-i" where the checkpoint has its second decoder


@dataclass(frozen=True, slots=True)
class Answer:
    """What the language model said to one question."""

    text: str  # special tokens kept, as the reference returns it: "Sure, [SEG].<|im_end|>"
    seg_probabilities: tuple[float, ...] = ()  # one for each [SEG] that gets a mask, in order
    presence: float | None = None  # probability of yes to the question's `presence`


@dataclass(frozen=True, slots=True)
class FrameMasks:
    """The masks of all N objects in one frame: every [SEG] of every answer, in order."""

    frame_idx: int
    masks: np.ndarray  # (N, H, W) bool
    scores: np.ndarray  # (N,) float32, SAM 2's predicted IoU
    object_scores: np.ndarray  # (N,) float32, probability that the object is in the frame


@dataclass(frozen=True, slots=True)
class Prediction:
    """The whole answer to one question: text, and a mask for each [SEG] in each frame."""

    answer: Answer
    frames: tuple[FrameMasks, ...] = ()  # empty when the answer has no [SEG]

    @property
    def text(self) -> str:
        return self.answer.text

    def object_masks(self, seg_idx: int) -> np.ndarray:
        """(T, H, W) bool: the masks of one [SEG] over all frames."""
        return np.stack([frame.masks[seg_idx] for frame in self.frames])


@dataclass(frozen=True, slots=True)
class AnswerRecord:
    """One prompt put to one item, and the answer as people read it."""

    prompt_idx: int
    category: str
    prompt: str  # what the user wrote
    question: str  # what was sent
    text: str  # the answer without special tokens
    raw_text: str  # the answer with them
    presence: float | None = None  # probability that it is in the picture; None: not asked


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One object of an item; its masks are stored frame by frame."""

    obj_id: int  # from 1 within the item, in the order of prompts and of [SEG] within an answer
    prompt_idx: int
    category: str
    label: str  # the phrase or sentence that the object answers
    seg_probability: float


@dataclass(frozen=True, slots=True)
class MaskRecord:
    """One object in one frame. An empty mask means: looked for, not there."""

    frame_idx: int
    obj_id: int
    rle: Rle
    score: float  # SAM 2's predicted IoU, 0..1
    object_score: float  # probability that the object is in the frame, 0..1


@dataclass(frozen=True, slots=True)
class ItemResult:
    """Everything known about one finished image or video, except its masks."""

    item_id: str  # path relative to the input, stable, "/" between folders
    path: str  # where the file was read
    kind: MediaKind
    height: int
    width: int
    num_frames: int = 1
    fps: float | None = None
    answers: tuple[AnswerRecord, ...] = ()
    objects: tuple[ObjectRecord, ...] = ()
    notes: tuple[str, ...] = ()  # what a careful reader should know: "first of 12 frames", …


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that could not be done, and why."""

    item_id: str
    path: str
    reason: str  # one sentence a person understands
    attempts: int


class ResultReader(Protocol):
    """What exporters and metrics see of the store: sorted, streamed, without a model."""

    def items(self) -> Iterator[ItemResult]:
        """Finished items, sorted by item_id."""
        ...

    def masks(self, item_id: str) -> Iterator[MaskRecord]:
        """Masks of one item, sorted by frame_idx, then obj_id; one frame at a time in memory."""
        ...

    def failures(self) -> Iterator[Failure]:
        """Failed items, sorted by item_id."""
        ...
