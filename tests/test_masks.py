import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sa2va_cli.masks import decode_rle, encode_rle, mask_iou, rle_area, rle_bbox


def ring():
    mask = np.zeros((7, 11), dtype=bool)
    mask[1:6, 2:9] = True
    mask[3, 4:6] = False
    return mask


def test_a_mask_survives_encoding():
    np.testing.assert_array_equal(decode_rle(encode_rle(ring())), ring())


@pytest.mark.parametrize("size", [(1, 1), (5, 1), (1, 5), (0, 5), (37, 61), (300, 200)])
def test_runs_are_those_of_pycocotools_whatever_the_mask_s_layout(size):
    mask = np.random.default_rng(1).random(size) > 0.5
    expected = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    layouts = [mask, np.asfortranarray(mask), np.repeat(mask, 2, axis=1)[:, ::2], mask * 1]
    for layout in layouts:
        assert encode_rle(layout) == {
            "size": list(size),
            "counts": expected["counts"].decode("ascii"),
        }


@pytest.mark.parametrize("shape", [(4,), (1, 4, 4)])
def test_what_is_no_mask_is_refused(shape):
    with pytest.raises(ValueError, match="unpack"):
        encode_rle(np.zeros(shape, bool))


def test_area_and_box_count_pixels():
    assert rle_area(encode_rle(ring())) == 33
    assert rle_bbox(encode_rle(ring())) == [2, 1, 7, 5]


def test_an_empty_mask_has_no_area_and_an_empty_box():
    rle = encode_rle(np.zeros((3, 4), dtype=bool))
    assert (rle_area(rle), rle_bbox(rle), rle["size"]) == (0, [0, 0, 0, 0], [3, 4])


def test_iou_of_masks():
    left, right = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    left[:, :3], right[:, 2:] = True, True
    assert mask_iou(left, right) == 0.25
    assert mask_iou(left & False, right & False) == 1.0
