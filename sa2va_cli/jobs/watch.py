"""What there is to see of a run, for whoever shows it."""

from dataclasses import dataclass, field
from typing import Protocol

from sa2va_cli.results import Failure


@dataclass(slots=True)
class WorkerState:
    """What one worker is doing now."""

    name: str
    doing: str = "starting"  # starting, loading the model, waiting, gone, or an item's id
    frames: int = 0  # of the video it is on
    done: int = 0


@dataclass(slots=True)
class RunState:
    """How far a run is. The supervisor writes it, views read it."""

    total: int  # items of the job, those done before included
    done_before: int
    done: int = 0  # in this run
    failed: int = 0  # in this run
    workers: list[WorkerState] = field(default_factory=list)
    stopping: bool = False

    @property
    def finished(self) -> int:
        return self.done_before + self.done + self.failed


class View(Protocol):
    """Shows a run while it goes on."""

    def say(self, text: str) -> None:
        """A sentence for people: a worker was replaced, the model is loaded."""
        ...

    def update(self, state: RunState) -> None:
        """Called several times a second."""
        ...

    def item_done(self, item: int) -> None:
        """The item is safely stored, under this number."""
        ...

    def item_failed(self, failure: Failure) -> None: ...

    def close(self) -> None: ...


class NoView:
    """Shows nothing."""

    def say(self, text: str) -> None:
        pass

    def update(self, state: RunState) -> None:
        pass

    def item_done(self, item: int) -> None:
        pass

    def item_failed(self, failure: Failure) -> None:
        pass

    def close(self) -> None:
        pass
