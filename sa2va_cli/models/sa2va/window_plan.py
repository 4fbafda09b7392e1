"""Where the windows of a long video lie, and what the language model sees of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.video import uniform_indices
from sa2va_cli.results import VideoOptions


@dataclass(frozen=True, slots=True)
class Window:
    """Positions in a video. Frames behind `stop` belong to the next window."""

    number: int
    first: int
    stop: int
    keys: tuple[int, ...]  # what the language model sees; the first frame is always among them
    overlap: int  # frames from `first` on that the objects of earlier windows are compared in

    @property
    def read_ahead(self) -> int:
        """Position behind the last frame that is held before the window begins."""
        return self.first + max(self.overlap, len(self.keys))

    @property
    def shared_stop(self) -> int:
        """Position behind the last frame that the objects of earlier windows are compared in."""
        return min(self.first + self.overlap, self.stop)


def plan_windows(sampled: Sequence[int], num_frames: int, options: VideoOptions) -> list[Window]:
    """Cut the sampled frames into windows that overlap; a single one without `options.window`.

    A window lasts until the next one begins: the frames that two windows share are compared, and
    then belong to the later one. Raises UsageError for a window that cannot move on.
    """
    if not sampled:
        return []
    length = options.window or len(sampled)
    overlap = window_overlap(options) if options.window else 0
    starts = list(range(0, max(len(sampled) - overlap, 1), length - overlap))
    ends = [sampled[start] for start in starts[1:]] + [num_frames]
    return [
        Window(
            number, sampled[start], end, _keys(sampled[start : start + length], options), overlap
        )
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def window_overlap(options: VideoOptions) -> int:
    """Frames that two windows share: as many as there are key frames, if nothing else is said."""
    assert options.window is not None
    overlap = options.overlap
    if overlap is None:
        overlap = max(1, min(options.key_frames, options.window // 2))
    if not 0 < overlap < options.window:
        raise UsageError(
            f"Windows of {options.window} frames cannot share {overlap}.",
            hint="give an overlap of at least 1, and a window that is longer",
        )
    return overlap


def _keys(sampled: Sequence[int], options: VideoOptions) -> tuple[int, ...]:
    if options.key_sampling == "first":
        return tuple(sampled[: options.key_frames])
    return tuple(sampled[index] for index in uniform_indices(len(sampled), options.key_frames))
