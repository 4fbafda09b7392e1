"""The workers of a run: hired, replaced and dismissed, each on its place."""

import os
import queue
import time
from dataclasses import dataclass
from pathlib import Path

from sa2va_cli.jobs.annotator import Loader
from sa2va_cli.jobs.opened import Asking
from sa2va_cli.jobs.watch import WorkerState
from sa2va_cli.jobs.worker import WorkerSpec
from sa2va_cli.resources import usable_cores
from sa2va_cli.runners.handle import EVENTS_WAITING, Events, Handle, StartWorker
from sa2va_cli.runners.slot import Slot

ASLEEP_SECONDS = 5.0  # between two looks: this process was stopped, and perhaps all were
MOST_OPENERS = 8  # each may hold a picture of the largest size that is allowed
LOAD_SECONDS = 3600.0  # a model that is not loaded by then never will be


@dataclass(frozen=True, slots=True)
class CrewPlan:
    """Who is to work, and how."""

    start: StartWorker
    devices: tuple[str, ...]  # one worker each; a device may stand here several times
    load: Loader
    asking: Asking
    log_dir: Path
    item_timeout: float  # seconds without a sign of life
    batch_size: int = 1  # images that a model may see at a time

    @property
    def threads(self) -> int:
        """Processor cores for each; set OMP_NUM_THREADS to decide otherwise.

        A worker that computes on the processor gets one, however many there are: sums depend on
        the number of threads in their last bit, and one worker and four must write the same.
        """
        if "cpu" in self.devices:
            return 1
        return max(1, usable_cores() // len(self.devices))

    @property
    def openers(self) -> int:
        """Threads of each that decode and resize pictures ahead of the model. A large photo takes
        a core longer than a GPU needs to answer."""
        return min(MOST_OPENERS, self.threads)

    @property
    def items_a_worker(self) -> int:
        """As many as the model is on at a time, and at least as many that are being opened."""
        return self.batch_size + max(self.batch_size, self.openers)


class Crew:
    """Starts and ends workers; what they say arrives in `events`."""

    def __init__(self, plan: CrewPlan) -> None:
        self._plan = plan
        self.events: Events = queue.Queue(EVENTS_WAITING)
        self.slots = [
            Slot(device, WorkerState(name))
            for device, name in zip(plan.devices, worker_names(plan.devices), strict=True)
        ]
        self._hired = 0
        self._last_look = time.monotonic()
        self._by_number: dict[int, Slot] = {}

    @property
    def live(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.handle]

    def slot_of(self, number: int) -> Slot | None:
        """Where this worker sits; None when it was replaced."""
        return self._by_number.get(number)

    def hire(self, slot: Slot) -> None:
        self._hired += 1
        spec = WorkerSpec(
            device=slot.device,
            load=self._plan.load,
            asking=self._plan.asking,
            threads=self._plan.threads,
            log_path=self._plan.log_dir / f"{slot.state.name.replace(':', '-')}.log",
            parent_pid=os.getpid(),
            batch_size=self._plan.batch_size,
            openers=self._plan.openers,
        )
        slot.occupy(self._hired, self._plan.start(spec, self._hired, self.events))
        self._by_number[self._hired] = slot

    def bury(self, slot: Slot) -> str:
        """The worker has ended: its place is free; how it ended, in words."""
        how = _held(slot).end()
        if slot.hung:
            seconds = self._plan.item_timeout if slot.ready else LOAD_SECONDS
            how = f"no sign of life for {seconds:g} s"
        elif slot.last_words:
            how = slot.last_words.reason
        del self._by_number[slot.number]
        slot.handle = None
        slot.state.doing = "gone"
        return how

    def end_the_hung(self) -> None:
        """Kill workers that are silent for too long; they will say Gone."""
        now = time.monotonic()
        asleep = now - self._last_look  # Ctrl-Z, or a disk that took its time: no worker's fault
        self._last_look = now
        for slot in self.live:
            slot.last_sign += asleep if asleep > ASLEEP_SECONDS else 0.0
            patience = self._plan.item_timeout if slot.ready else LOAD_SECONDS
            busy = slot.in_work or not slot.ready
            handle = _held(slot)
            if busy and handle.replaceable and now - slot.last_sign > patience and not slot.hung:
                slot.hung = True
                handle.kill()

    def dismiss(self) -> None:
        """No worker is left after this. Messages still under way are dropped."""
        for slot in self.live:
            _held(slot).kill()
        while self.live:
            self._drain()
            for slot in self.live:
                _held(slot).end()
                slot.handle = None

    def _drain(self) -> None:
        """Let the listening threads go on: they wait while `events` is full."""
        try:
            while True:
                self.events.get_nowait()
        except queue.Empty:
            pass


def worker_names(devices: tuple[str, ...]) -> list[str]:
    """The device's name, with a number where several workers share it: cpu-1, cpu-2, cuda:0."""
    seen: dict[str, int] = {}
    names = []
    for device in devices:
        seen[device] = seen.get(device, 0) + 1
        names.append(f"{device}-{seen[device]}" if devices.count(device) > 1 else device)
    return names


def _held(slot: Slot) -> Handle:
    assert slot.handle is not None  # only live slots come here
    return slot.handle
