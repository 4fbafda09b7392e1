"""The picture or clip that `chat` and `ask` are about, opened once for all questions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sa2va_cli.config import JobConfig, Prompt
from sa2va_cli.errors import MediaError, UsageError
from sa2va_cli.jobs.records import Exchange, mask_records, read_answers
from sa2va_cli.media.discover import DiscoverOptions, GivenPath, discover
from sa2va_cli.media.image import load_image
from sa2va_cli.media.item import MediaItem
from sa2va_cli.media.video import Video, open_video
from sa2va_cli.results import (
    Answer,
    FrameMasks,
    ItemResult,
    MaskRecord,
    MediaKind,
    Question,
    VideoOptions,
)
from sa2va_cli.runners.job import frame_sampling, video_options
from sa2va_cli.tasks.question import AskTask
from sa2va_cli.tasks.region_source import check_proportions, read_regions

if TYPE_CHECKING:
    from sa2va_cli.models.sa2va.chat import Conversation
    from sa2va_cli.models.sa2va.predictor import Sa2VA


@dataclass(frozen=True, slots=True)
class Medium:
    """What is known of it, and how a conversation about it begins."""

    name: str
    path: str
    kind: MediaKind
    height: int
    width: int
    fps: float | None = None
    pixels: np.ndarray | None = None  # (H, W, 3) uint8: of an image
    image_notes: tuple[str, ...] = ()
    frames: "Frames | None" = None  # of a video
    video_options: VideoOptions | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a careful reader should know; of a video there may be more when it was read on."""
        return self.image_notes if self.frames is None else self.frames.notes

    def conversation(self, model: "Sa2VA") -> "Conversation":
        return model.chat(self.pixels, self.frames, self.video_options)

    def answered(self, item_id: str, asked: str, sent: str, answer: Answer) -> ItemResult:
        """An answer as a job would store it, to what was asked and the question made of it."""
        exchange = Exchange(Prompt(asked, asked), Question(sent))
        answers, objects = read_answers(AskTask(), [exchange], [answer])
        return ItemResult(
            item_id,
            self.path,
            self.kind,
            self.height,
            self.width,
            num_frames=1 if self.frames is None else self.frames.num_read,
            fps=self.fps,
            answers=answers,
            objects=tuple(replace(record, category=record.label) for record in objects),
            notes=self.notes,
        )

    def mask_records(self, masks: FrameMasks) -> list[MaskRecord]:
        """For the store's eyes: run lengths, and the frame's number in the file."""
        number = 0 if self.frames is None else self.frames.number(masks.frame_idx)
        return mask_records(replace(masks, frame_idx=number))


class Frames:
    """The pixels of a video's frames, from the start whenever they are iterated."""

    def __init__(self, video: Video) -> None:
        self._video = video
        self._numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._video.info.selected)

    def __iter__(self) -> Iterator[np.ndarray]:
        self._numbers = []
        for frame in self._video:
            self._numbers.append(frame.frame_idx)
            yield frame.pixels

    @property
    def num_read(self) -> int:
        """How many were taken last; broken ones are fewer than were chosen."""
        return len(self._numbers)

    @property
    def notes(self) -> tuple[str, ...]:
        """Of all that was read so far."""
        return self._video.notes

    def number(self, index: int) -> int:
        """The number in the file of the index-th frame that was taken last."""
        return self._numbers[index]


@contextmanager
def open_medium(path: Path, config: JobConfig) -> Iterator[Medium]:
    """Raises MediaError or UsageError if it is not one picture, clip or folder of frames."""
    item = _find(path)
    if item.media_kind == "image":
        loaded = load_image(item.path)
        height, width = loaded.pixels.shape[:2]
        yield Medium(
            Path(item.path).name,
            item.path,
            "image",
            height,
            width,
            pixels=loaded.pixels,
            image_notes=loaded.notes,
        )
        return
    with open_video(item.path, frame_sampling(config)) as video:
        info = video.info
        yield Medium(
            Path(item.path).name,
            item.path,
            "video",
            info.height,
            info.width,
            fps=info.fps,
            frames=Frames(video),
            video_options=video_options(config),
        )


def load_regions(paths: Sequence[Path], medium: Medium) -> np.ndarray | None:
    """(regions, H, W) bool from mask PNGs, in order; None for no paths.

    Raises MediaError for a file that is no mask or not one of this picture, UsageError when they do
    not fit together, or the medium is a video.
    """
    if not paths:
        return None
    if medium.kind == "video":
        raise UsageError("Regions work on images, not on videos.", hint="ask about one frame")
    regions = [region for path in paths for region in read_regions(path)]
    if not regions:
        raise UsageError("The masks are empty.", hint="white, or any value but 0, is the region")
    if len({region.mask.shape for region in regions}) > 1:
        raise UsageError("The masks have different sizes.", hint="draw them on the same picture")
    check_proportions(regions, medium.height, medium.width)
    return np.stack([region.mask for region in regions])


def _find(path: Path) -> MediaItem:
    found = discover([GivenPath(str(path))], DiscoverOptions(frames_as_video=True, hidden=True))
    if len(found.items) == 1:
        return found.items[0]
    for problem in found.problems:
        raise MediaError(f"{problem.path}: {problem.reason}")
    raise UsageError(
        f"{path} holds {len(found.items)} pictures and clips.",
        hint="name one picture, one clip, or one folder of frames",
    )
