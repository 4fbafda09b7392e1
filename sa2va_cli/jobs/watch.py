"""What there is to see of a run, for whoever shows it."""

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from sa2va_cli.results import Failure

STARTING, LOADING = "starting", "loading the model"


@dataclass(slots=True)
class WorkerState:
    """What one worker is doing now."""

    name: str
    doing: str = STARTING  # LOADING, waiting, gone, or an item's id
    frames: int = 0  # of the video it is on
    done: int = 0


@dataclass(slots=True)
class RunState:
    """How far a run is. The supervisor writes it, views read it."""

    total: int  # items that were found, those done or failed before included
    done_before: int
    failed_before: int = 0
    done: int = 0  # in this run
    failed: int = 0  # in this run
    workers: list[WorkerState] = field(default_factory=list)
    stopping: bool = False

    @property
    def finished(self) -> int:
        return self.done_before + self.failed_before + self.done + self.failed

    @property
    def at_work(self) -> bool:
        """Some model is loaded: from now on it is worth asking how fast they are."""
        return any(worker.doing not in (STARTING, LOADING) for worker in self.workers)

    @property
    def all_failed(self) -> int:
        """In this run, and before without being tried again."""
        return self.failed_before + self.failed

    @property
    def left(self) -> int:
        return self.total - self.finished


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended, and what to do next."""

    done: int  # all that is done, in this run or before
    done_now: int
    failed: int
    left: int
    seconds: float
    skipped: int  # files in the folders that are no media
    written: tuple[str, ...]  # what was made of the results: "out/annotations.json (12 …)"
    next_step: str
    exit_code: int

    def text(self) -> str:
        counts = f"{self.done} done ({self.done_now} in this run), {self.failed} failed"
        counts += f", {self.left} left" if self.left else ""
        lines = [f"{counts}; {self.seconds:.1f} s."]
        lines += [f"  {line}" for line in self.written]
        if self.skipped:
            what = "1 other file was" if self.skipped == 1 else f"{self.skipped} other files were"
            lines.append(f"  {what} not looked at")
        lines.append(self.next_step)
        return "\n".join(line for line in lines if line)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class View(Protocol):
    """Shows a run while it goes on."""

    def say(self, text: str) -> None:
        """A sentence for people: a worker was replaced, the model is loaded."""
        ...

    def update(self, state: RunState) -> None:
        """Called several times a second."""
        ...

    def item_failed(self, failure: Failure) -> None: ...

    def close(self) -> None:
        """Nothing moves any more."""
        ...

    def summary(self, summary: Summary) -> None: ...
