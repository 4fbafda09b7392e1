"""How fast a run is, and how long it will take."""

import time
from collections import deque

WINDOW_SECONDS = 60.0


class Pace:
    """Items a second over the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, finished: int) -> None:
        """`finished` items so far; may be called as often as one likes."""
        now = time.monotonic()
        if not self._seen or finished != self._seen[-1][1] or now - self._seen[-1][0] > 1.0:
            self._seen.append((now, finished))
        while now - self._seen[0][0] > WINDOW_SECONDS and len(self._seen) > 2:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Items a second; 0 before the first is done."""
        if len(self._seen) < 2:
            return 0.0
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def seconds_for(self, left: int) -> float | None:
        """None while nothing is known."""
        return left / self.rate if self.rate else None


def clock(seconds: float | None) -> str:
    """1:02:03, or ? when not known."""
    if seconds is None:
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}"


def speed(rate: float) -> str:
    """Items a second, or seconds an item when they are slow."""
    if rate <= 0:
        return "-/s"
    return f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
