"""The pictures of a video in order, held only as far ahead as somebody looks."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence

from PIL import Image

from sa2va_cli.results import Footage

Placed = tuple[int, Image.Image]  # position, picture


class Reel:
    """Goes through a video once, from `first` on. Frames that cannot be decoded are missing."""

    def __init__(self, footage: Footage, first: int) -> None:
        self._frames = footage.read(first)
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
        """End the decoder."""
        if hasattr(self._frames, "close"):
            self._frames.close()

    def _advance(self) -> bool:
        frame = next(self._frames, None)
        if frame is None:
            return False
        self._held.append((frame[0], Image.fromarray(frame[1])))
        return True


class Scout:
    """Fetches key frames that lie far ahead, by a second pass over the file beside the first."""

    def __init__(self, footage: Footage, keys: Collection[int]) -> None:
        """`keys` are all that will ever be asked for; those of two windows may alternate."""
        self._footage = footage
        self._keys = frozenset(keys)
        self._reel: Reel | None = None
        self._held: dict[int, Image.Image] = {}

    def fetch(self, positions: Sequence[int], first: int) -> list[Placed]:
        """Some keys, in order; what cannot be read is left out. Before `first`, a position that
        only rises, nothing will be asked for any more."""
        if self._reel is None:
            self._reel = Reel(self._footage, first)
        self._held = {at: picture for at, picture in self._held.items() if at >= first}
        for at, picture in self._reel.until(max(positions) + 1):
            if at in self._keys:
                self._held[at] = picture
        return [(at, self._held[at]) for at in positions if at in self._held]

    def close(self) -> None:
        if self._reel:
            self._reel.close()
