"""Masks through a video: key frames decoded from language, every other frame tracked from memory.

Two passes over the frames at most: one that picks the key frames, if they are not simply the first
ones, and one that tracks. What is held does not grow with the length of the video.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.segmenter import DecodedMasks, Segmenter
from sa2va_cli.models.sa2va.tracker import Tracker
from sa2va_cli.models.sa2va.views import Placed, Views
from sa2va_cli.results import Answer, FrameMasks, VideoOptions

Encode = Callable[[int, Views], FrameFeatures]  # a frame, by its number and its views
CERTAIN = 10.0  # logits of a mask that is given, not guessed


@dataclass(frozen=True, slots=True)
class KeyFrames:
    """What the language model sees of a video, and all frames for the tracking pass."""

    indices: tuple[int, ...]
    pictures: list[Views]
    all_frames: Iterator[Placed]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the masks: the first frame's."""
        return self.pictures[0].size


class VideoAnswers:
    """Answers about a video, there at once, and its masks, frame by frame.

    Iterating yields one FrameMasks a frame with all N objects of all answers, in order; nothing if
    no answer has a [SEG]. It can be iterated once.
    """

    def __init__(self, answers: list[Answer], masks: Iterator[FrameMasks]) -> None:
        self.answers = answers
        self._masks = masks

    def __iter__(self) -> Iterator[FrameMasks]:
        return self._masks


def pick_key_frames(
    frames: Iterable[Views], options: VideoOptions, num_frames: int | None
) -> KeyFrames:
    """Choose and read the key frames.

    "first" reads no further than they are. "uniform" needs `num_frames` and frames that can be
    iterated again. Raises UsageError without these, and for a video without frames.
    """
    if options.key_sampling == "first":
        upcoming = iter(frames)
        pictures = list(islice(upcoming, options.key_frames))
        indices: Sequence[int] = range(len(pictures))
        all_frames = enumerate(chain(tuple(pictures), upcoming))
    else:
        if num_frames is None:
            raise UsageError(
                "Nobody knows how many frames this video has, over which key frames are spread.",
                hint="give num_frames, or frames with a length",
            )
        indices, pictures = _read_at(frames, uniform_indices(num_frames, options.key_frames))
        all_frames = enumerate(iter(frames))
    if not pictures:
        raise UsageError("The video has no frames.", hint="check that the file plays")
    return KeyFrames(tuple(indices), pictures, all_frames)


def check_rereadable(frames: Iterable[object]) -> None:
    """Raises UsageError for what is gone when it has been iterated."""
    if isinstance(frames, Iterator):
        raise UsageError(
            "This video can be read only once.", hint="give a list of frames, not a generator"
        )


def uniform_indices(num_frames: int, count: int) -> list[int]:
    """`count` frame numbers from the first to the last, fewer if there are not so many frames."""
    if num_frames == 0:
        return []
    return sorted({int(index) for index in np.linspace(0, num_frames - 1, count)})


class MaskStream:
    """Tracks N objects of one video."""

    def __init__(
        self, segmenter: Segmenter, encode: Encode, prompts: Tensor, *, consistent: bool
    ) -> None:
        """`prompts` (N, 1, C). `consistent`: Sa2VA-i, section 8.4 of the reference behaviour."""
        self._segmenter = segmenter
        self._encode = encode
        self._prompts = prompts
        self._consistent = consistent

    def run(self, keys: KeyFrames) -> Iterator[tuple[int, DecodedMasks]]:
        """Frame by frame, in order, what was decoded of it."""
        tracker = Tracker(self._segmenter, original=self._consistent)
        with torch.inference_mode():
            known = {
                index: self._condition(tracker, index, views, keys.size)
                for index, views in zip(keys.indices, keys.pictures, strict=True)
            }
        keys.pictures.clear()
        for frame_idx, views in keys.all_frames:
            with torch.inference_mode():
                decoded = known.pop(frame_idx, None)
                if decoded is None:
                    decoded = tracker.track_frame(frame_idx, self._encode(frame_idx, views))
            yield frame_idx, decoded

    def _condition(
        self, tracker: Tracker, frame_idx: int, views: Views, size: tuple[int, int]
    ) -> DecodedMasks:
        features = self._encode(frame_idx, views)
        decoded = self._segmenter.decode_prompts(features, self._prompts)
        if self._consistent:
            decoded = as_given_masks(self._segmenter, decoded, features, size)
        tracker.condition(frame_idx, features, decoded)
        return decoded


def as_given_masks(
    segmenter: Segmenter, decoded: DecodedMasks, features: FrameFeatures, size: tuple[int, int]
) -> DecodedMasks:
    """The decoded masks, taken for certain, as SAM 2 takes masks that a user draws.

    `size` is (width, height) of the frames.
    """
    width, height = size
    side = segmenter.config.image_size
    squares = []
    for logits in decoded.mask_logits[:, None].split(1):  # all at once take GB in large frames
        drawn = F.interpolate(logits, size=(height, width), mode="bilinear").sigmoid() > 0.5
        square = F.interpolate(drawn.float(), size=(side, side), mode="bilinear", antialias=True)
        squares.append(square[:, 0] >= 0.5)
    masks = torch.cat(squares)  # (N, side, side)
    certain = torch.where(masks, CERTAIN, -CERTAIN)[:, None]
    low = segmenter.config.mask_side
    certain = F.interpolate(certain, size=(low, low), mode="bilinear", antialias=True)
    return DecodedMasks(
        mask_logits=certain[:, 0],
        scores=decoded.scores,
        object_logits=decoded.object_logits,
        pointers=segmenter.mask_pointers(masks, features),
    )


def _read_at(frames: Iterable[Views], indices: Sequence[int]) -> tuple[list[int], list[Views]]:
    """The frames at some indices, as far as the video goes."""
    wanted, found, pictures = set(indices), [], []
    last = max(indices, default=-1)
    for index, picture in enumerate(islice(iter(frames), last + 1)):
        if index in wanted:
            found.append(index)
            pictures.append(picture)
    return found, pictures
