"""Looks after the workers: gives out items, stores what comes back, replaces who dies.

One thread, one loop. In each round: take in what the workers say, end those that hang, give out
items, commit. An item is in the store as begun before its worker hears of it.
"""

import queue
import time
from collections.abc import Callable

from sa2va_cli.errors import CheckpointError, JobError, Sa2vaError
from sa2va_cli.jobs.messages import (
    Begun,
    CannotLoad,
    Crashed,
    Failed,
    Finished,
    FromWorker,
    Gone,
    Masks,
    Reached,
    Ready,
    Restarted,
    Thinking,
    WorkItem,
)
from sa2va_cli.jobs.plan import Queue, load_item
from sa2va_cli.jobs.stop import StopSignals
from sa2va_cli.jobs.store import CRASHED, HUNG, RELEASED, JobStore
from sa2va_cli.jobs.watch import RunState, View
from sa2va_cli.results import Failure
from sa2va_cli.runners.crew import Crew, CrewPlan
from sa2va_cli.runners.dispatch import Dispatcher
from sa2va_cli.runners.slot import Slot

TRIES = 2  # workers that one item may cost
ROUND_SECONDS = 0.2  # at least so often the hung are looked for and the view is drawn
EVENTS_A_ROUND = 256
LEAVE_SECONDS = 10.0  # what the models are on at Ctrl-C may take so long

OnDone = Callable[[int], None]
OfItem = Begun | Thinking | Masks | Reached | Restarted | Finished | Failed


class Supervisor:
    """One run of a job: from the first worker's start to the last one's end."""

    def __init__(
        self, crew: CrewPlan, todo: Queue, store: JobStore, view: View, state: RunState
    ) -> None:
        self._crew = Crew(crew)
        self._dispatcher = Dispatcher(todo, crew.items_a_worker)
        self._store = store
        self._view = view
        self._state = state
        self._stopping = False
        self._last_trouble = ""  # why a worker went, for when none is left
        self._refused = ""  # what is wrong with the model itself: no worker could load it
        self._on_done: OnDone = ignore
        self._done_now: list[int] = []  # since the last commit
        self._failed_now: list[Failure] = []

    def run(self, stop: StopSignals, on_done: OnDone) -> None:
        """Returns when every item is done or given up, or when a signal asked to leave.

        `on_done` is told the number of each item that is safely stored.
        Raises JobError when no worker is left that could go on, or the store cannot be written.
        """
        self._on_done = on_done
        try:
            with stop.gracefully():
                for slot in self._crew.slots[: len(self._dispatcher)]:
                    self._crew.hire(slot)
                    self._state.workers.append(slot.state)
                while self._work_left and not stop.requested:
                    if not self._crew.live:
                        raise self._nobody_left()
                    self._round()
                if stop.requested:
                    self._wind_up()
        finally:
            self._crew.dismiss()
            self._view.update(self._state)

    @property
    def _work_left(self) -> bool:
        return len(self._dispatcher) > 0 or any(slot.in_work for slot in self._crew.slots)

    def _round(self) -> None:
        for number, message in self._news():
            slot = self._crew.slot_of(number)
            if slot:
                self._take(slot, message)
        self._crew.end_the_hung()
        parcels = [] if self._stopping else self._pick_items()
        self._commit()
        for slot, work in parcels:
            if slot.handle:
                slot.handle.send(work)
        self._view.update(self._state)

    def _nobody_left(self) -> Sa2vaError:
        """The model's own fault is the user's to mend: usage, not a failed run."""
        if self._refused:
            message, _, hint = self._refused.partition(" Hint: ")
            return CheckpointError(message, hint=hint)
        return JobError(
            f"No worker is left: {self._last_trouble}.",
            hint="what is done is kept; the same command goes on with the rest",
        )

    def _wind_up(self) -> None:
        """Let the models finish what they are on, for a while; the rest is given back."""
        self._stopping = self._state.stopping = True
        self._view.say("stopping: waiting for the items that are being worked on")
        deadline = time.monotonic() + LEAVE_SECONDS
        waiting = {slot.thinking for slot in self._crew.live if slot.thinking is not None}
        while waiting and time.monotonic() < deadline:
            self._round()
            waiting &= {item for slot in self._crew.live for item in slot.in_work}
        for slot in self._crew.slots:
            for item in slot.in_work:
                self._store.give_back(item, RELEASED)
        self._commit()

    # What the workers say

    def _news(self) -> list[tuple[int, FromWorker]]:
        """Wait for the first message, take what else is there."""
        news = []
        try:
            news.append(self._crew.events.get(timeout=ROUND_SECONDS))
            while len(news) < EVENTS_A_ROUND:
                news.append(self._crew.events.get_nowait())
        except queue.Empty:
            pass
        return news

    def _take(self, slot: Slot, message: FromWorker) -> None:
        slot.last_sign = time.monotonic()
        if isinstance(message, Ready):
            self._ready(slot, message)
        elif isinstance(message, CannotLoad):
            slot.last_words = Crashed(None, message.reason)
            slot.beyond_hope = message.final
            self._refused = message.reason if message.final else self._refused
        elif isinstance(message, Crashed):
            slot.last_words = message
            if slot.handle:  # a thread of it may wait for the next item
                slot.handle.kill()
        elif isinstance(message, Gone):
            self._replace(slot)
        elif message.item in slot.in_work:
            self._take_item(slot, message)

    def _take_item(self, slot: Slot, message: OfItem) -> None:
        item = message.item
        if isinstance(message, Begun):
            slot.begun.add(item)
        elif isinstance(message, Thinking):
            slot.thinking = item
            slot.state.doing, slot.state.frames = slot.in_work[item], message.frames
        elif isinstance(message, Masks):
            self._store.add_masks(item, message.masks)
        elif isinstance(message, Reached):
            self._store.reach(item, message.checkpoint)
        elif isinstance(message, Restarted):
            self._store.drop_rows(item)
        elif isinstance(message, Finished):
            self._store.add_masks(item, message.masks)
            self._store.finish(item, message.result)
            self._done(slot, item)
        else:
            self._fail(slot, item, message.reason)

    def _ready(self, slot: Slot, message: Ready) -> None:
        slot.ready = True
        slot.failed_loads = 0
        slot.state.doing = "waiting"
        self._view.say(f"{slot.state.name}: model loaded in {message.seconds:.1f} s")

    def _done(self, slot: Slot, item: int) -> None:
        slot.forget(item)
        slot.deaths = 0
        slot.state.doing = "waiting"
        slot.state.done += 1
        self._state.done += 1
        self._done_now.append(item)

    def _fail(self, slot: Slot, item: int, reason: str, outcome: str = "failed") -> None:
        item_id = slot.forget(item)
        slot.state.doing = "waiting"
        attempts = self._store.fail(item, reason, outcome)
        self._state.failed += 1
        self._failed_now.append(
            Failure(item_id, load_item(self._store, item).path, reason, attempts)
        )

    # Workers that ended

    def _replace(self, slot: Slot) -> None:
        was_ready, hung = slot.ready, slot.hung
        reason = self._crew.bury(slot)
        self._last_trouble = f"{slot.state.name}: {reason}"
        if self._stopping:
            return
        self._settle(slot, reason, HUNG if hung else CRASHED)
        slot.deaths += was_ready
        slot.failed_loads += not was_ready
        if slot.used_up:
            self._view.say(f"{slot.state.name}: given up, {reason}")
        else:
            self._view.say(f"{slot.state.name}: {reason}; starting another worker")
            self._crew.hire(slot)

    def _settle(self, slot: Slot, reason: str, outcome: str) -> None:
        """Items of a dead worker: who may have killed it is tried once more, then given up."""
        blamed = slot.blamed()
        for item in list(slot.in_work):
            if item not in blamed:
                self._store.give_back(item, RELEASED)
                self._dispatcher.give_back(item)
            elif self._store.blamed(item) + 1 >= TRIES:
                self._fail(slot, item, reason, outcome)
                continue
            else:
                self._store.give_back(item, outcome, reason)
                self._dispatcher.suspect(item, slot.device)
            slot.forget(item)

    # What the workers get

    def _pick_items(self) -> list[tuple[Slot, WorkItem]]:
        parcels = []
        for slot in self._crew.live:
            while slot.ready and not slot.hung:
                item = self._dispatcher.next_for(slot, self._crew.live)
                if item is None:
                    break
                media = load_item(self._store, item)
                self._store.begin(item, slot.state.name)
                if not slot.in_work:
                    slot.last_sign = time.monotonic()
                slot.take(item, media)
                parcels.append((slot, WorkItem(item, media, self._store.checkpoint(item))))
        return parcels

    def _commit(self) -> None:
        """Only now is it true: then it is shown, and streamed."""
        self._store.commit()
        for item in self._done_now:
            self._on_done(item)
        for failure in self._failed_now:
            self._view.item_failed(failure)
        self._done_now.clear()
        self._failed_now.clear()


def ignore(item: int) -> None:
    """Nobody wants to know."""
