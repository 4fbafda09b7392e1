"""What the supervisor and a worker tell each other, over a pipe of their own."""

from collections.abc import Callable
from dataclasses import dataclass

from sa2va_cli.media.item import MediaItem
from sa2va_cli.results import ItemResult, MaskRecord


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place in a video from which any worker goes on as if there had been no break."""

    frame_idx: int  # the masks of all frames before this one are stored
    records: str  # JSON: what else is to be stored of them when the video is done
    state: bytes  # what the model remembers


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One item to do. `item` is its number in the store."""

    item: int
    media: MediaItem
    checkpoint: Checkpoint | None = None  # where an earlier attempt came to


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CannotLoad:
    """No model on this device. `final`: another try would end the same way."""

    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """The item's file is being opened."""

    item: int


@dataclass(frozen=True, slots=True)
class Thinking:
    """The model works on the item; for videos sent again and again, with the frames done."""

    item: int
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Masks:
    """Some masks of an item, in order; more follow."""

    item: int
    masks: tuple[MaskRecord, ...]


@dataclass(frozen=True, slots=True)
class Reached:
    """A window of a video is done, and all its masks were sent."""

    item: int
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Restarted:
    """The item is done anew, with less at a time: its masks so far do not count."""

    item: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The item is done; its last masks, and everything else."""

    item: int
    result: ItemResult
    masks: tuple[MaskRecord, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """The item cannot be done, the worker goes on."""

    item: int
    reason: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """The worker's last words: an error that is nobody's fault but the program's.

    `item` is None when it is not known which item it was.
    """

    item: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """Said by the parent's own end of the pipe: the worker is no more."""


FromWorker = (
    Ready
    | CannotLoad
    | Begun
    | Thinking
    | Masks
    | Reached
    | Restarted
    | Finished
    | Failed
    | Crashed
    | Gone
)
Send = Callable[[FromWorker], None]
