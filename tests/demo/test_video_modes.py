"""The videos on which windows and key frames are measured are what they are said to be."""

from sa2va_cli.demo.motion import PROMPTED
from sa2va_cli.demo.video_modes import CLIPS, MIN_SEEN, MODES, ClipFootage, entering_late


def test_what_enters_late_is_not_there_at_first_and_is_later():
    (case,) = entering_late(1)
    assert not case.masks[:PROMPTED].any()
    assert case.masks.any(axis=(1, 2)).mean() > MIN_SEEN
    assert case.phrase and len(case.frames) == len(case.masks)


def test_each_kind_is_measured_in_modes_of_its_own():
    assert CLIPS.keys() == MODES.keys()
    for modes in MODES.values():
        assert len(set(modes.values())) == len(modes) >= 2


def test_a_clip_is_read_from_any_frame_on():
    (case,) = entering_late(1)
    footage = ClipFootage(case.frames)
    assert [at for at, _ in footage.read(3)] == list(range(3, len(footage)))
