import numpy as np
import pytest

from sa2va_cli.demo.motion import PROMPTED, Sequel, make_clip
from sa2va_cli.demo.scenes import HELD_OUT_SEED, MIN_VISIBLE, make_scene
from sa2va_cli.demo.shapes import COLORS, FILLS, SHAPES, SIZES, coverage_patch


def test_a_seed_always_draws_the_same_picture():
    first, second = make_scene(7), make_scene(7)
    assert (first.image == second.image).all()
    assert (first.masks == second.masks).all()
    assert first.things == second.things
    assert (
        make_scene(8).image.shape != first.image.shape or (make_scene(8).image != first.image).any()
    )


def test_pictures_hold_the_whole_world():
    things = [thing for seed in range(60) for thing in make_scene(seed).things]
    for attribute, values in enumerate((SIZES, FILLS, tuple(COLORS), SHAPES)):
        assert {thing.words[attribute] for thing in things} == set(values)


def test_sizes_and_aspect_ratios_vary():
    shapes = [make_scene(seed).image.shape[:2] for seed in range(40)]
    ratios = [width / height for height, width in shapes]
    assert min(ratios) < 0.7 and max(ratios) > 1.4
    assert len(set(shapes)) > 30


@pytest.mark.parametrize("seed", [*range(10), HELD_OUT_SEED])
def test_masks_are_disjoint_and_mostly_visible(seed):
    scene = make_scene(seed)
    assert scene.masks.sum(axis=0).max() <= 1
    for thing, mask in zip(scene.things, scene.masks, strict=True):
        whole = (coverage_patch(thing)[0] > 0.5).sum()
        assert MIN_VISIBLE * whole <= mask.sum() <= whole


def test_a_solid_thing_has_its_color_inside_its_mask_and_not_outside():
    scene = make_scene(3)
    checked = 0
    for thing, mask in zip(scene.things, scene.masks, strict=True):
        if thing.fill == "solid":
            color = np.median(scene.image[mask], axis=0)
            assert np.abs(color - thing.rgb).max() < 12
            checked += 1
    assert checked


def test_a_video_is_the_same_for_its_seed_and_keeps_its_targets_in_view_at_first():
    clip, again = make_clip(5, 12), make_clip(5, 12)
    assert (clip.frames == again.frames).all() and (clip.masks == again.masks).all()
    assert clip.frames.shape[0] == clip.masks.shape[0] == 12
    assert clip.in_view
    assert clip.masks[:PROMPTED, list(clip.in_view)].any(axis=(2, 3)).all()


def test_things_move_and_hide():
    moved, hidden = False, False
    for seed in range(12):
        clip = make_clip(seed, 24)
        areas = clip.masks[:, list(clip.in_view)].sum(axis=(2, 3))
        moved = moved or bool((clip.frames[0] != clip.frames[-1]).any())
        hidden = hidden or bool((areas == 0).any())
    assert moved and hidden


def test_time_can_jump_after_the_prompted_frames():
    slow, fast = make_clip(4, 20), make_clip(4, 8, sequel=Sequel(skip=5))
    assert len(fast.frames) == 8
    assert (fast.masks[:PROMPTED] == slow.masks[:PROMPTED]).all()
    assert (fast.masks[PROMPTED:] == slow.masks[PROMPTED + 4 :: 5]).all()


def test_a_moment_is_of_frames_at_which_something_hides_or_comes_back():
    kinds = {"hides": 0, "nearly": 0, "seen": 0}
    for seed in range(20):
        clip = make_clip(seed, 8, sequel=Sequel(moment=True))
        areas = clip.masks.sum(axis=(2, 3))
        shares = areas[3:, list(clip.in_view)] / areas[0, list(clip.in_view)]
        kinds["hides"] += bool((shares == 0).any())
        kinds["nearly"] += bool(((shares > 0) & (shares < 0.15)).any())
        kinds["seen"] += bool((shares > 0.7).any())
        assert (areas[:3, list(clip.in_view)] > 0).all()
    assert min(kinds.values()) >= 8


def test_after_a_cut_things_have_changed_places_and_some_are_gone():
    moved, gone = 0, 0
    for seed in range(8):
        usual, cut = make_clip(seed, 8), make_clip(seed, 8, sequel=Sequel(cut=True))
        assert len(cut.things) == len(usual.things)
        before = cut.masks[PROMPTED - 1, list(cut.in_view)]
        after = cut.masks[PROMPTED, list(cut.in_view)]
        gone += int((~after.any(axis=(1, 2))).sum())
        moved += int((after.any(axis=(1, 2)) & ~(before & after).any(axis=(1, 2))).sum())
    assert moved >= 5 and gone >= 3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_hiding_video_hides_something_and_shows_it_again(seed):
    areas = make_clip(seed, 14, hurry=1.8, sequel=Sequel(hiding=True)).masks.sum(axis=(2, 3))
    hidden = areas < 0.2 * areas[0]
    back = ~hidden[-1] & hidden[PROMPTED:].any(axis=0) & ~hidden[:PROMPTED].any(axis=0)
    assert back.any()
