import tracemalloc

import cv2
import numpy as np
import pytest
from shapely.geometry import Polygon

from sa2va_cli.exporters.polygons import (
    _nearest,
    coco_polygons,
    fill_polygons,
    joined_polygon,
    mask_polygons,
)
from sa2va_cli.masks import encode_rle, mask_iou


def blobs(seed, holes):
    """Large discs with small ones cut out, as segmenters draw them."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((300, 400), np.uint8)
    for value, count, size in ((1, 5, 80), (0, holes, 25)):
        for _ in range(count):
            centre = int(rng.integers(400)), int(rng.integers(300))
            cv2.circle(mask, centre, int(rng.integers(2, size)), value, -1)
    return mask.astype(bool)


def drawn(text):
    return np.array([[letter == "#" for letter in line] for line in text.split()])


SMALL = {
    "ring": ".......\n.#####.\n.##.##.\n.#####.",
    "one pixel": "...\n.#.\n...",
    "line": ".....\n.###.\n.....",
    "diagonal": "#...\n.#..\n..#.\n...#",
    "everything": "##\n##",
    "touching at a corner": "##..\n##..\n..##\n..##",
    "hole at a corner": "#####\n#.###\n##.##\n#####",
    "ring in a ring": "#######\n#.....#\n#.###.#\n#.#.#.#\n#.###.#\n#.....#\n#######",
}


@pytest.mark.parametrize("name", SMALL)
def test_small_masks_come_back_exactly(name):
    mask = drawn(SMALL[name])
    np.testing.assert_array_equal(fill_polygons(mask_polygons(encode_rle(mask)), *mask.shape), mask)


@pytest.mark.parametrize("seed", range(5))
def test_masks_with_holes_and_parts_come_back(seed):
    mask = blobs(seed, holes=12)
    polygons = mask_polygons(encode_rle(mask))
    assert mask_iou(fill_polygons(polygons, *mask.shape), mask) >= 0.98
    assert sum(map(len, polygons)) < 1000  # a smooth outline needs few points


def test_noise_comes_back():
    mask = np.random.default_rng(0).random((60, 80)) > 0.5
    assert mask_iou(fill_polygons(mask_polygons(encode_rle(mask)), *mask.shape), mask) >= 0.98


def test_one_polygon_of_noise_is_quickly_made_and_covers_it():
    mask = np.random.default_rng(0).random((300, 300)) < 0.1
    joined = joined_polygon(encode_rle(mask))
    assert len(joined) < 4 * 4 * mask.sum()  # comparing all points with all would take minutes
    filled = fill_polygons([joined], *mask.shape)
    assert mask_iou(filled, mask) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_parts_are_joined_at_the_first_of_the_nearest_points(seed):
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, 99, (count, 2)).astype(float) for count in (3000, 200))
    distances = ((one[:, None] - other) ** 2).sum(axis=-1)
    assert (distances == distances.min()).sum() > 1
    assert _nearest(one, other) == np.unravel_index(distances.argmin(), distances.shape)


def test_joining_long_outlines_takes_little_memory():
    one = np.random.default_rng(0).random((10_000, 2))
    tracemalloc.start()
    try:
        _nearest(one, one[::2] + 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 2**20  # all distances: 400 MB and more


def test_polygons_of_a_ring_are_simple_and_have_its_area():
    mask = blobs(3, holes=0)
    cv2.circle(hollow := mask.astype(np.uint8), (200, 150), 20, 0, -1)
    polygons = [Polygon(points) for points in mask_polygons(encode_rle(hollow.astype(bool)))]
    assert all(polygon.is_valid for polygon in polygons)
    assert sum(polygon.area for polygon in polygons) == pytest.approx(hollow.sum(), rel=0.01)


def test_an_empty_mask_has_no_polygon():
    assert coco_polygons(encode_rle(np.zeros((4, 5), bool))) == []


def test_coco_polygons_are_flat_and_have_three_points_or_more():
    for polygon in coco_polygons(encode_rle(blobs(1, holes=12))):
        assert len(polygon) >= 6 and len(polygon) % 2 == 0
