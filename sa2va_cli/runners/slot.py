"""A place for a worker: who works there now, on what, and how often it went wrong."""

import time
from dataclasses import dataclass, field

from sa2va_cli.jobs.messages import Crashed
from sa2va_cli.jobs.watch import LOADING, WorkerState
from sa2va_cli.media.item import MediaItem
from sa2va_cli.runners.handle import Handle

MAX_FAILED_LOADS = 3  # in a row
MAX_DEATHS = 10  # in a row, with no item done in between


@dataclass(slots=True)
class Slot:
    """One device, or one part of a device."""

    device: str
    state: WorkerState
    handle: Handle | None = None  # None: retired
    number: int = 0  # of the worker that sits here now
    ready: bool = False
    in_work: dict[int, str] = field(default_factory=dict)  # item -> item_id, oldest first
    videos: set[int] = field(default_factory=set)  # of these
    begun: set[int] = field(default_factory=set)  # of these, whose file was opened
    thinking: int | None = None  # the one that the model is on
    alone: bool = False  # the item in work is a suspect: it gets no company
    last_words: Crashed | None = None
    hung: bool = False
    beyond_hope: bool = False  # the model cannot be loaded here, however often it is tried
    last_sign: float = 0.0
    deaths: int = 0
    failed_loads: int = 0

    def occupy(self, number: int, handle: Handle) -> None:
        """A new worker, with nothing to do yet."""
        self.number, self.handle = number, handle
        self.ready = self.alone = self.hung = False
        self.in_work, self.videos, self.begun = {}, set(), set()
        self.thinking = self.last_words = None
        self.last_sign = time.monotonic()
        self.state.doing = LOADING

    def take(self, item: int, media: MediaItem) -> None:
        """The item is this worker's from now on."""
        self.in_work[item] = media.item_id
        if media.media_kind == "video":
            self.videos.add(item)

    def forget(self, item: int) -> str:
        """The item is no longer this worker's; its id."""
        self.begun.discard(item)
        self.videos.discard(item)
        if self.thinking == item:
            self.thinking = None
        item_id = self.in_work.pop(item)
        if not self.in_work:
            self.alone = False
        return item_id

    def blamed(self) -> set[int]:
        """The items that may have killed this worker."""
        if self.last_words and self.last_words.item in self.in_work:
            return {self.last_words.item}
        return self.begun & self.in_work.keys()

    @property
    def used_up(self) -> bool:
        """Another worker here would go the same way."""
        many = self.failed_loads >= MAX_FAILED_LOADS or self.deaths >= MAX_DEATHS
        return many or self.beyond_hope
