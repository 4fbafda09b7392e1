"""The frames of a video in order, held only as far ahead as somebody looks."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from sa2va_cli.models.sa2va.views import Placed, Views

Read = Callable[[int], Iterator[Placed]]  # the frames from a position on


class Reel:
    """Goes through a video once. Frames that cannot be decoded are missing."""

    def __init__(self, frames: Iterator[Placed]) -> None:
        self._frames = frames
        self._held: deque[Placed] = deque()

    def ahead(self, stop: int) -> list[Placed]:
        """The frames before position `stop`, which are still to come."""
        while not self._held or self._held[-1][0] < stop - 1:
            if not self._advance():
                break
        return [frame for frame in self._held if frame[0] < stop]

    def until(self, stop: int) -> Iterator[Placed]:
        """Take the frames before position `stop`."""
        while self._held or self._advance():
            if self._held[0][0] >= stop:
                return
            yield self._held.popleft()

    def ended(self) -> bool:
        """Whether no frame is left."""
        return not self._held and not self._advance()

    def close(self) -> None:
        """End whoever makes the frames."""
        if hasattr(self._frames, "close"):
            self._frames.close()

    def _advance(self) -> bool:
        frame = next(self._frames, None)
        if frame is None:
            return False
        self._held.append(frame)
        return True


class Scout:
    """Fetches key frames that lie far ahead, by a second pass over the file beside the first."""

    def __init__(self, read: Read, keys: Collection[int]) -> None:
        """`keys` are all that will ever be asked for; those of two windows may alternate."""
        self._read = read
        self._keys = frozenset(keys)
        self._reel: Reel | None = None
        self._held: dict[int, Views] = {}

    def fetch(self, positions: Sequence[int], first: int) -> list[Placed]:
        """Some keys, in order; what cannot be read is left out. Before `first`, a position that
        only rises, nothing will be asked for any more."""
        if self._reel is None:
            self._reel = Reel(self._read(first))
        self._held = {at: views for at, views in self._held.items() if at >= first}
        for at, views in self._reel.until(max(positions) + 1):
            if at in self._keys:
                self._held[at] = views
        return [(at, self._held[at]) for at in positions if at in self._held]

    def close(self) -> None:
        if self._reel:
            self._reel.close()
