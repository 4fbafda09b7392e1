"""Windows of a long video: each is looked at anew, and any process may go on at any of them."""

import numpy as np
import pytest
import torch

from sa2va_cli import Sa2VA
from sa2va_cli.demo.evaluate import occlusions
from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.matching import Compared, Known, Named, identify, overlaps
from sa2va_cli.models.sa2va.window_plan import plan_windows
from sa2va_cli.results import Question, TrackedMasks, VideoOptions, WindowLook
from tests.models.test_video import GOLDEN_I, SEGMENT, clip

TWO = [SEGMENT, Question("<image>Please segment every person.")]


class ListFootage:
    """Frames in memory. Some may be broken, and not all may be for the language model."""

    def __init__(self, frames, sampled=None, broken=()):
        self._frames = frames
        self.sampled = range(len(frames)) if sampled is None else sampled
        self._broken = broken

    def __len__(self):
        return len(self._frames)

    def read(self, first):
        for position in range(first, len(self._frames)):
            if position not in self._broken:
                yield position, self._frames[position]


def names(answers):
    return ["square" for answer in answers for _ in answer.seg_probabilities]


def run(model, footage, options, questions=(SEGMENT,), state=b""):
    """The looks, and the frames."""
    events = list(model.answer_windows(footage, questions, options, names, state))
    looks = [event for event in events if isinstance(event, WindowLook)]
    return looks, [event for event in events if isinstance(event, TrackedMasks)]


def assert_same(ours, theirs):
    assert [frame.obj_ids for frame in ours] == [frame.obj_ids for frame in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.masks.frame_idx == other.masks.frame_idx
        for field in ("masks", "scores", "object_scores"):
            np.testing.assert_array_equal(
                getattr(one.masks, field), getattr(other.masks, field), err_msg=field
            )


@pytest.mark.parametrize("sampling", ["first", "uniform"])
def test_a_single_window_is_the_video_without_windows(golden_model, sampling):
    options = VideoOptions(key_frames=3, key_sampling=sampling)
    looks, frames = run(golden_model, ListFootage(clip(9)), options, TWO)
    plain = golden_model.answer_video(clip(9), TWO, options)
    assert list(looks[0].answers) == plain.answers
    for ours, theirs in zip(frames, plain, strict=True):
        assert ours.masks.frame_idx == theirs.frame_idx
        np.testing.assert_array_equal(ours.masks.masks, theirs.masks)
        np.testing.assert_array_equal(ours.masks.scores, theirs.scores)


@pytest.mark.parametrize("window", [14, 8])
def test_each_frame_is_encoded_once(window):
    model = Sa2VA.from_pretrained("demo", device="cpu")
    video, _, phrase = next(occlusions(1))
    footage = ListFootage(list(video.frames[:14]))
    encoded = []
    hook = lambda *_: encoded.append(1)  # noqa: E731
    model.model.segmenter.image_encoder.register_forward_hook(hook)
    questions = [Question(f"<image>Please segment the {phrase}.")]
    looks, frames = run(model, footage, VideoOptions(key_frames=3, window=window), questions)
    assert [frame.obj_ids for frame in frames] == [(1,)] * 14
    assert len(looks) == {14: 1, 8: 3}[window] and len(encoded) == 14


@pytest.fixture(scope="module")
def model_i():
    return Sa2VA.from_pretrained(str(GOLDEN_I / "checkpoint"), device="cpu")


@pytest.mark.parametrize("mode", ["first", "uniform", "sa2va-i"])
def test_from_any_window_on_another_process_does_the_same(golden_model, model_i, mode):
    model = model_i if mode == "sa2va-i" else golden_model
    options = VideoOptions(key_frames=3, window=8)
    if mode == "uniform":
        options = VideoOptions(key_frames=3, window=8, key_sampling="uniform", overlap=2)
    footage = ListFootage(clip(20), broken=(9,))
    looks, frames = run(model, footage, options, TWO)
    assert len(looks) == 4 if mode != "uniform" else 3
    assert looks[0].state == b"" and all(look.state for look in looks[1:])
    assert [f.masks.frame_idx for f in frames] == [at for at in range(20) if at != 9]
    for look in looks[1:]:
        again, rest = run(model, footage, options, TWO, look.state)
        assert [one.obj_ids for one in again] == [one.obj_ids for one in looks[look.window :]]
        assert_same(rest, [f for f in frames if f.masks.frame_idx >= look.first])


def test_frames_between_the_sampled_ones_are_tracked(golden_model):
    footage = ListFootage(clip(12), sampled=[0, 4, 8])
    looks, frames = run(golden_model, footage, VideoOptions(key_frames=2))
    assert [frame.masks.frame_idx for frame in frames] == list(range(12))
    seen = golden_model.answer_video([clip(12)[0], clip(12)[4]], [SEGMENT])
    assert list(looks[0].answers) == seen.answers
    for frame, key in zip((frames[0], frames[4]), seen, strict=True):
        np.testing.assert_array_equal(frame.masks.masks, key.masks)


def test_windows_of_sampled_frames_span_the_frames_between(golden_model):
    footage = ListFootage(clip(20), sampled=range(0, 20, 3))
    options = VideoOptions(key_frames=2, window=4, overlap=1)
    looks, frames = run(golden_model, footage, options)
    assert [look.first for look in looks] == [0, 9]
    assert [frame.masks.frame_idx for frame in frames] == list(range(20))


def test_a_video_that_ends_early_ends(golden_model):
    footage = ListFootage(clip(20), broken=range(9, 20))
    looks, frames = run(golden_model, footage, VideoOptions(key_frames=3, window=8))
    assert [look.window for look in looks] == [0, 1]
    assert len(frames) == 9


def test_a_gap_longer_than_a_window_does_not_end_the_video(golden_model):
    footage = ListFootage(clip(24), broken=range(7, 18))
    _, frames = run(golden_model, footage, VideoOptions(key_frames=3, window=4))
    assert [f.masks.frame_idx for f in frames] == [*range(7), *range(18, 24)]


def test_the_memory_of_a_window_does_not_grow(golden_model):
    options = VideoOptions(key_frames=2, window=6)
    looks, _ = run(golden_model, ListFootage(clip(30)), options, TWO)
    sizes = [len(look.state) for look in looks[2:]]
    assert max(sizes) < 1.5 * min(sizes)


@pytest.mark.parametrize(
    ("options", "frames", "spans", "keys"),
    [
        ({}, 10, [(0, 10)], [(0, 1, 2, 3, 4)]),
        ({"window": 20}, 10, [(0, 10)], [(0, 1, 2, 3, 4)]),
        ({"window": 6, "key_frames": 2}, 10, [(0, 4), (4, 10)], [(0, 1), (4, 5)]),
        (
            {"window": 6, "key_frames": 2, "overlap": 3, "key_sampling": "uniform"},
            11,
            [(0, 3), (3, 6), (6, 11)],
            [(0, 5), (3, 8), (6, 10)],
        ),
    ],
)
def test_windows_share_frames_and_leave_none_out(options, frames, spans, keys):
    windows = plan_windows(range(frames), frames, VideoOptions(**options))
    assert [(window.first, window.stop) for window in windows] == spans
    assert [window.keys for window in windows] == keys


def test_windows_that_could_not_move_on_are_refused():
    with pytest.raises(UsageError, match="Windows of 5 frames cannot share 5"):
        plan_windows(range(20), 20, VideoOptions(window=5, overlap=5))


def see(*names, question=0, in_sight=True):
    return [Named(question, name, in_sight) for name in names]


def known(*names, question=0):
    return [Known(i, question, name, last_seen=i) for i, name in enumerate(names, start=1)]


def compared(ious, obj_ids, in_sight=None):
    return Compared(
        obj_ids, torch.tensor(ious), frozenset(obj_ids if in_sight is None else in_sight)
    )


def test_the_best_overlaps_pair_off_one_to_one():
    both = compared([[0.9, 0.6], [0.8, 0.5]], (1, 2))
    assert identify(see("a", "a"), known("a", "a"), both) == [1, 2]


def test_what_overlaps_nothing_is_new_while_the_known_one_is_in_sight():
    assert identify(see("a"), known("a"), compared([[0.1]], (1,))) == [None]


def test_what_was_lost_is_found_again_by_its_name():
    hidden = compared([[0.0, 0.0]], (1, 3), in_sight=(3,))  # 2 is tracked no more
    objects = known("a", "a", "a")
    assert identify(see("a"), objects, hidden) == [2], "seen later than 1"
    assert identify(see("b"), objects, hidden) == [None]
    assert identify(see("a", question=1), objects, hidden) == [None]


def test_what_is_not_to_be_seen_is_nobody():
    hidden = compared([[0.9]], (1,), in_sight=())
    assert identify(see("a", in_sight=False), known("a"), hidden) == [None]


def test_masks_of_other_prompts_are_other_objects():
    assert identify(see("a", question=1), known("a"), compared([[0.9]], (1,))) == [None]


def test_overlap_counts_over_all_shared_frames():
    new = [torch.zeros(1, 4, 4, dtype=torch.bool) for _ in range(2)]
    old = [torch.zeros(2, 4, 4, dtype=torch.bool) for _ in range(2)]
    new[0][0, :2], old[0][0, :1], old[1][1, :1] = True, True, True
    assert overlaps(new, old).tolist() == [[0.5, 0.0]]
