"""Open an item ahead of the model: its pixels, or its first frames, and what to ask about it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sa2va_cli.config import Prompt
from sa2va_cli.errors import MediaError, Sa2vaError
from sa2va_cli.jobs.messages import WorkItem
from sa2va_cli.jobs.out_of_memory import memory_reason
from sa2va_cli.jobs.records import Exchange, exchanges, with_presence
from sa2va_cli.media.image import MAX_PIXELS, load_image
from sa2va_cli.media.video import FrameSampling, Video, open_video
from sa2va_cli.results import ItemResult, VideoOptions
from sa2va_cli.tasks import Task, get_task
from sa2va_cli.tasks.region_source import RegionSource, check_proportions, open_regions


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked of every item, and how its file is read. Travels to the workers."""

    task: str
    prompts: tuple[Prompt, ...]
    regions: Path | None
    sampling: FrameSampling
    video_options: VideoOptions
    max_pixels: int | None
    presence: bool = False  # ask of each prompt whether it is there at all
    frame_timeout: float = 60.0  # seconds: a video's decoder that is silent for longer is replaced


@dataclass(frozen=True, slots=True)
class OpenedImage:
    work: WorkItem
    asked: Sequence[Exchange]
    picture: Any  # as the model takes it: what is made of its pixels, or (H, W, 3) uint8
    size: tuple[int, int]  # (height, width)
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenedVideo:
    work: WorkItem
    asked: Sequence[Exchange]
    video: Video


@dataclass(frozen=True, slots=True)
class Unopened:
    work: WorkItem
    reason: str


Opened = OpenedImage | OpenedVideo | Unopened


def in_one_line(error: BaseException) -> str:
    """A message and its hint, as the reason of a failure."""
    return " ".join(str(error).replace("\nHint: ", " Hint: ").split())


class Opener:
    """Opens items, several at a time; what is wrong with a file is told, not raised."""

    def __init__(
        self, asking: Asking, prepare: Callable[[np.ndarray], Any], threads: int = 1
    ) -> None:
        """For so many threads at most. `prepare`: see PreparingAnnotator."""
        self._asking = asking
        self._prepare = prepare
        self._threads = threads
        self._room = threading.Semaphore(threads)  # whoever works alone has all of it
        self._turn = threading.Lock()
        self._max_pixels = MAX_PIXELS if asking.max_pixels is None else asking.max_pixels
        self.task: Task = get_task(asking.task)
        self._regions: RegionSource | None = (
            open_regions(asking.regions) if asking.regions else None
        )

    def open(self, work: WorkItem) -> Opened:
        """Where memory does not suffice beside other threads, one that lacks it works alone."""
        try:
            with self._room:
                return self._open(work)
        except MemoryError:
            pass
        with self._turn:
            for _ in range(self._threads):
                self._room.acquire()
            try:
                return self._open(work)
            except MemoryError as error:
                return Unopened(work, memory_reason(error))
            finally:
                self._room.release(self._threads)

    def _open(self, work: WorkItem) -> Opened:
        try:
            if work.media.media_kind == "image":
                return self._open_image(work)
            asked, asking = self._ask(work), self._asking
            video = open_video(
                work.media.path, asking.sampling, asking.frame_timeout, self._max_pixels
            )
            return OpenedVideo(work, asked, video)
        except Sa2vaError as error:
            return Unopened(work, in_one_line(error))

    def _open_image(self, work: WorkItem) -> Opened:
        loaded = load_image(work.media.path, self._max_pixels)
        asked = self._ask(work, loaded.pixels)
        height, width = loaded.pixels.shape[:2]
        return OpenedImage(work, asked, self._prepare(loaded.pixels), (height, width), loaded.notes)

    def _ask(self, work: WorkItem, pixels: np.ndarray | None = None) -> Sequence[Exchange]:
        media = work.media
        regions = self._regions.regions(media.item_id) if self._regions else ()
        if self.task.needs_region and not regions:
            raise MediaError("There is no region for this picture.")
        if pixels is not None:  # the task tells that it does not take videos
            check_proportions(regions, *pixels.shape[:2])
        prompts = media.prompts or self._asking.prompts
        asked = exchanges(self.task, prompts, media.media_kind, regions)
        return with_presence(asked, media.media_kind) if self._asking.presence else asked


def image_result(opened: OpenedImage) -> ItemResult:
    """Everything about the item but what the model says."""
    media, (height, width) = opened.work.media, opened.size
    return ItemResult(media.item_id, media.path, "image", height, width, notes=opened.notes)


def video_result(opened: OpenedVideo, num_frames: int) -> ItemResult:
    """The same for a video of which `num_frames` were looked at; call it after the last frame."""
    media, info = opened.work.media, opened.video.info
    return ItemResult(
        media.item_id,
        media.path,
        "video",
        info.height,
        info.width,
        num_frames=num_frames,
        fps=info.fps,
        notes=opened.video.notes,
    )
