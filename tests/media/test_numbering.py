from array import array
from types import SimpleNamespace

import pytest

from sa2va_cli.media.frame_index import FrameIndex
from sa2va_cli.media.numbering import Numbering


def numbers(shown, decoded, frames):
    """The numbers of frames that come out of a decoder with (pts, dts)."""
    index = FrameIndex(array("q", shown), array("q", decoded), array("d"), 1.0, None, None, None)
    numbering = Numbering(index)
    return [numbering.number(SimpleNamespace(pts=pts, dts=dts)) for pts, dts in frames]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([(0, 0), (1, 1), (2, 2), (5, 5), (6, 6)], [0, 1, 2, 5, 6]),
        ([(None, None), (None, None)], [0, 1]),
        # WMV: B-frames have the times of the packets that they came in.
        ([(0, 1), (2, 2), (1, 3), (4, 4), (3, 5), (6, 6), (5, 7), (7, None)], [*range(8)]),
        ([(0, 1), (2, 2), (1, 3), (6, 6), (5, 7), (7, None)], [0, 1, 2, 5, 6, 7]),
        # H.264 whose header does not tell that it reorders: the third comes before the second.
        ([(0, 0), (2, 1), (1, 2), (3, 4), (4, 5)], [0, 1, 2, 3, 4]),
        ([(0, 1), (1, 2), (3, 3), (2, 4), (4, 5)], [0, 1, 2, 3, 4]),
        # The first frames of a file that was cut do not decode.
        ([(4, 4), (5, 5), (6, 6), (7, None), (8, None)], [4, 5, 6, 7, None]),
    ],
)
def test_frames_have_their_numbers_also_where_some_are_missing(frames, expected):
    assert numbers(range(8), range(8), frames) == expected


def test_several_frames_of_one_time_are_numbered_as_they_come():
    assert numbers([0, 5, 5, 5, 9], [0, 5, 5, 5, 9], [(0, 0)] + [(5, 5)] * 3) == [0, 1, 2, 3]


def test_without_times_of_decoding_those_of_showing_count():
    assert numbers([0, 4, 8], [], [(0, 0), (8, 8)]) == [0, 2]
