import pytest

from sa2va_cli.errors import UsageError
from sa2va_cli.media.frames import FrameSampling

STEADY = [frame / 25 for frame in range(100)]  # 4 s


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (FrameSampling(), list(range(100))),
        (FrameSampling(every=30), [0, 30, 60, 90]),
        (FrameSampling(max_frames=3), [0, 1, 2]),
        (FrameSampling(start=3.9), [98, 99]),
        (FrameSampling(end=0.08), [0, 1]),
        (FrameSampling(fps=1), [0, 25, 50, 75]),
        (FrameSampling(fps=2, start=1, end=3, every=2, max_frames=5), [25, 50]),
        (FrameSampling(fps=60), list(range(100))),
        (FrameSampling(fps=25), list(range(100))),
        (FrameSampling(fps=12.5), list(range(0, 100, 2))),
        (FrameSampling(start=100), []),
    ],
)
def test_frames_are_taken_by_time_rate_and_number(sampling, expected):
    assert sampling.select(STEADY) == expected


def test_a_rate_follows_the_clock_where_frames_are_uneven():
    times = [0, 0.1, 0.2, 5.0, 5.9, 6.0, 6.1]
    assert FrameSampling(fps=1).select(times) == [0, 3, 5]


def test_seconds_count_from_the_first_frame():
    assert FrameSampling(start=1, end=2).select([100, 101, 101.5, 102]) == [1, 2]


@pytest.mark.parametrize(
    "options",
    [
        {"every": 0},
        {"max_frames": 0},
        {"fps": 0},
        {"fps": -1},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"start": -1},
        {"start": float("nan")},
        {"start": float("inf")},
        {"end": float("nan")},
        {"start": 2, "end": 2},
    ],
)
def test_senseless_options_are_usage_errors(options):
    with pytest.raises(UsageError):
        FrameSampling(**options)
