import numpy as np

from sa2va_cli.demo.build import GRID
from sa2va_cli.demo.lessons import shared_values
from sa2va_cli.demo.scenes import make_scene
from sa2va_cli.demo.targets import (
    BACKGROUND,
    counting_cells,
    counting_target,
    coverage,
    dense_targets,
    pointer_target,
    value_indices,
)


def test_each_thing_is_counted_once_where_it_is():
    for seed in range(20):
        scene = make_scene(seed)
        covered = coverage(scene.masks)
        cells = counting_cells(covered, scene.facts.centers)
        assert len(cells) == len(scene.things)
        for cell, cover in zip(cells, covered, strict=True):
            assert cover.ravel()[cell] >= min(0.2, cover.max())
        counted = dense_targets([scene], GRID, 0.2).counted[0]
        assert np.flatnonzero(counted.numpy()).tolist() == sorted(set(cells))


def test_attention_is_shared_by_what_is_meant_or_goes_to_nothing():
    scene = make_scene(4)
    covered = coverage(scene.masks)
    cells = counting_cells(covered, scene.facts.centers)
    for shares in (pointer_target([covered], (0, 1)), counting_target(cells, (0, 1))):
        assert np.isclose(shares.sum(), 1) and shares[-1] == 0
        assert (shares[:-1][covered[[0, 1]].max(axis=0).ravel() == 0] == 0).all()
    assert pointer_target([covered], ())[-1] == counting_target(cells, ())[-1] == 1


def test_several_things_are_taught_by_what_only_they_share():
    red_star, red_ring, blue_ring = (
        ("small", "solid", "red", "star"),
        ("large", "solid", "red", "ring"),
        ("large", "dotted", "blue", "ring"),
    )
    words = [red_star, red_ring, blue_ring]
    color = value_indices(red_star)[2]
    assert shared_values(words, (0, 1)) == (
        BACKGROUND,
        value_indices(red_star)[1],
        color,
        BACKGROUND,
    )
    assert shared_values(words, (0, 2)) == (BACKGROUND,) * 4
    assert shared_values(words, (0, 1, 2)) == (BACKGROUND,) * 4
