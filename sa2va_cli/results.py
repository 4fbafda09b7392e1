"""What is asked of the model, what it says, and what a job keeps of that.

Memory side (model -> worker): Question, Answer, FrameMasks, Prediction.
Rest side (worker -> store -> exporters): ItemResult, ObjectRecord, AnswerRecord, MaskRecord.
"""

from collections.abc import Callable, Iterator, Sequence
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
    window: int | None = None  # frames after which the language model looks anew; None: never
    overlap: int | None = None  # frames that two windows share; None: as many as key frames


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


class Footage(Protocol):
    """The frames of a video that is worked on in windows. A frame's position counts from 0."""

    @property
    def sampled(self) -> Sequence[int]:
        """Positions of the frames that the language model may see, in order; the first is 0."""
        ...

    def __len__(self) -> int:
        """How many frames there are, or fewer in a damaged file."""
        ...

    def read(self, first: int) -> Iterator[tuple[int, np.ndarray]]:
        """(position, (H, W, 3) uint8 RGB) from `first` on, as often as wanted and side by side.

        Frames that cannot be decoded are left out.
        """
        ...


# What each [SEG] of the answers to all questions is called, in order.
Naming = Callable[[Sequence["Answer"]], Sequence[str]]


@dataclass(frozen=True, slots=True)
class WindowLook:
    """What the language model said at the beginning of a window; its frames follow."""

    window: int  # from 0
    first: int  # position of its first frame: all before are done
    answers: tuple[Answer, ...]  # to the questions; none if not one key frame could be read
    obj_ids: tuple[int, ...]  # of each [SEG], from 1 over the whole video; 0: not to be seen
    state: bytes  # with it, another process goes on from this window; empty for the first one


@dataclass(frozen=True, slots=True)
class TrackedMasks:
    """The masks of one frame of a video in windows."""

    obj_ids: tuple[int, ...]  # of the N objects, in order; the others are out of sight for long
    masks: FrameMasks  # its frame_idx is the frame's position


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
class WindowRecord:
    """What the model said to one prompt at the beginning of one window of a video."""

    window: int  # from 0
    prompt_idx: int
    frame_idx: int  # the window's first frame
    text: str
    raw_text: str
    presence: float | None = None


@dataclass(frozen=True, slots=True)
class FrameRun:
    """`count` frames, each `step` after the one before."""

    first: int
    step: int
    count: int

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.step * self.count, self.step)


def frame_runs(numbers: Sequence[int]) -> tuple[FrameRun, ...]:
    """Rising frame numbers, in few words where they are evenly spaced."""
    runs: list[FrameRun] = []
    start = 0
    while start < len(numbers):
        step = numbers[start + 1] - numbers[start] if start + 1 < len(numbers) else 1
        end = start + 1
        while end < len(numbers) and numbers[end] - numbers[end - 1] == step:
            end += 1
        runs.append(FrameRun(numbers[start], step, end - start))
        start = end
    return tuple(runs)


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
    frames: tuple[FrameRun, ...] = ()  # of a video: those that were looked at, in order
    windows: tuple[WindowRecord, ...] = ()  # of a video in windows, by window and prompt


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
