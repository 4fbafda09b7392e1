"""Which item goes to which worker next.

Largest first. An item over which a worker died waits until all others are given out, and is
then tried alone, elsewhere if there is an elsewhere: if that worker dies too, the item did it.
"""

from collections import deque
from dataclasses import dataclass

from sa2va_cli.jobs.plan import Queue
from sa2va_cli.runners.slot import Slot

VIDEOS_A_WORKER = 2  # one that the model is on, one that is opened: others could do the rest


@dataclass(frozen=True, slots=True)
class Suspect:
    item: int
    device: str = ""  # where a worker died over it; empty: in an earlier run


class Dispatcher:
    """What is still to be given out; a worker has up to `items_a_worker` at a time."""

    def __init__(self, queue: Queue, items_a_worker: int) -> None:
        self._items_a_worker = items_a_worker
        self._fresh = queue.fresh
        self._next = 0
        self._returned: deque[int] = deque()  # begun by nobody when their worker died
        self._suspects = deque(Suspect(item) for item in queue.suspects)

    def __len__(self) -> int:
        return len(self._fresh) - self._next + len(self._returned) + len(self._suspects)

    def give_back(self, item: int) -> None:
        self._returned.append(item)

    def suspect(self, item: int, device: str) -> None:
        self._suspects.append(Suspect(item, device))

    def next_for(self, slot: Slot, live_slots: list[Slot]) -> int | None:
        """An item for this worker, or None when there is none for it now."""
        enough = len(slot.in_work) >= self._depth(live_slots)
        if slot.alone or enough or len(slot.videos) >= VIDEOS_A_WORKER:
            return None
        if self._returned:
            return self._returned.popleft()
        if self._next < len(self._fresh):
            self._next += 1
            return self._fresh[self._next - 1]
        return None if slot.in_work else self._next_suspect(slot, live_slots)

    def _depth(self, live_slots: list[Slot]) -> int:
        """Near the end nobody hoards an item that an idle worker could do."""
        left = len(self) + sum(len(slot.in_work) for slot in live_slots)
        return min(self._items_a_worker, max(1, left // len(live_slots)))

    def _next_suspect(self, slot: Slot, live_slots: list[Slot]) -> int | None:
        elsewhere = {other.device for other in live_slots} - {slot.device}
        for suspect in self._suspects:
            if suspect.device != slot.device or not elsewhere:
                self._suspects.remove(suspect)
                slot.alone = True
                return suspect.item
        return None
