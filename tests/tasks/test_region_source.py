import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from sa2va_cli.errors import MediaError, UsageError
from sa2va_cli.tasks.region_source import Region, check_proportions, open_regions

LABELS = np.array([[0, 1, 1, 7], [0, 1, 1, 7], [0, 0, 0, 7]], np.uint8)


@pytest.fixture
def save(tmp_path):
    def save(name, pixels, mode=None, folder="regions"):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels)
        if mode == "P":
            image = Image.fromarray(pixels, "L")
            image.putpalette([value for i in range(256) for value in (i, 255 - i, 9)])
        elif mode:
            image = image.convert(mode)
        image.save(path)
        return path

    return save


def regions(tmp_path, item_id="a/b.jpg"):
    return open_regions(tmp_path / "regions").regions(item_id)


def masks(found):
    return {region.name: region.mask.astype(int).tolist() for region in found}


@pytest.mark.parametrize("name", ["a/b.png", "a/b.jpg.png"])
@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_label_map_has_a_region_for_each_value(tmp_path, save, name, mode):
    save(name, LABELS, mode)
    found = regions(tmp_path)
    assert masks(found) == {str(v): (v == LABELS).astype(int).tolist() for v in (1, 7)}
    assert found[0].mask.dtype == bool


@pytest.mark.parametrize("mode", ["1", "L"])
def test_a_mask_is_one_region(tmp_path, save, mode):
    save("a/b.png", (LABELS == 7).astype(np.uint8) * 255, mode)
    (region,) = regions(tmp_path)
    np.testing.assert_array_equal(region.mask, LABELS == 7)


def test_the_outlines_of_a_voc_map_belong_to_nothing(tmp_path, save):
    save("a/b.png", np.where(LABELS == 7, 255, LABELS).astype(np.uint8), "P")
    assert list(masks(regions(tmp_path))) == ["1"]


def test_sixteen_bit_and_colour_maps_work(tmp_path, save):
    save("a/b.png", LABELS.astype(np.uint16) * 1000)
    save("a/c.png", np.stack([LABELS, LABELS * 0, LABELS * 2], axis=-1))
    assert list(masks(regions(tmp_path))) == ["1000", "7000"]
    assert len(regions(tmp_path, "a/c.jpg")) == 2


@pytest.mark.parametrize("folder", ["a/b", "a/b.jpg"])
def test_a_folder_of_masks_has_a_region_for_each_file(tmp_path, save, folder):
    save(f"{folder}/right.png", (LABELS == 7).astype(np.uint8) * 255)
    save(f"{folder}/left.png", (LABELS == 1).astype(np.uint8) * 255)
    assert list(masks(regions(tmp_path))) == ["left", "right"]


def test_a_picture_without_regions_has_none(tmp_path, save):
    save("other.png", LABELS)
    save("a/b.png", LABELS * 0)
    assert regions(tmp_path, "a/c.jpg") == regions(tmp_path) == ()


def test_a_grey_picture_is_no_label_map(tmp_path, save):
    save("a/b.png", np.arange(256, dtype=np.uint8).reshape(16, 16))
    with pytest.raises(MediaError, match="255 different values"):
        regions(tmp_path)


def test_a_broken_map_is_an_error(tmp_path, save):
    path = save("a/b.png", LABELS)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(MediaError, match="cannot be read"):
        regions(tmp_path)


def write_coco(tmp_path, segmentations, file_name="a/b.jpg"):
    path = tmp_path / "regions"
    annotations = [
        {"id": 11 + i, "image_id": 5, "bbox": [1, 0, 2, 2]}
        | ({"segmentation": segmentation} if segmentation else {})
        for i, segmentation in enumerate(segmentations)
    ]
    images = [{"id": 5, "file_name": file_name, "height": 3, "width": 4}]
    images += [{"id": 6, "file_name": f"x/{file_name}", "height": 3, "width": 4}]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def test_a_coco_file_gives_regions_in_every_kind_of_segmentation(tmp_path):
    expected = LABELS == 1
    rle = coco_mask.encode(np.asfortranarray(expected, np.uint8))
    write_coco(
        tmp_path,
        [
            {"size": [3, 4], "counts": rle["counts"].decode()},
            {"size": [3, 4], "counts": [3, 2, 1, 2, 4]},
            [[1, 0, 3, 0, 3, 2, 1, 2]],
            None,
        ],
    )
    found = regions(tmp_path)
    assert [region.name for region in found] == ["11", "12", "13", "14"]
    for region in found:
        np.testing.assert_array_equal(region.mask, expected)


def test_what_has_no_pixel_is_no_region(tmp_path, save):
    write_coco(tmp_path, [[[9, 9, 9, 9, 9, 9]], None])
    assert [region.name for region in regions(tmp_path)] == ["12"]
    (tmp_path / "regions").unlink()
    save("a/b/left.png", LABELS)
    save("a/b/right.png", np.zeros_like(LABELS))
    assert [region.name for region in regions(tmp_path)] == ["left"]


@pytest.mark.parametrize("item_id", ["a/b.jpg", "photos/a/b.jpg"])
def test_images_are_found_by_the_end_of_their_name(tmp_path, item_id):
    write_coco(tmp_path, [None])
    assert len(regions(tmp_path, item_id)) == 1


def test_a_name_that_fits_two_images_is_an_error(tmp_path):
    write_coco(tmp_path, [None])
    with pytest.raises(MediaError, match=r"2 images that may be b\.jpg"):
        regions(tmp_path, "b.jpg")
    assert regions(tmp_path, "c.jpg") == ()


@pytest.mark.parametrize(
    "segmentation", [{"counts": "1"}, [[1, 2]], {"size": [3, 4]}, "x", [[1, "a", 3, 4, 5, 6]]]
)
def test_a_broken_annotation_fails_its_picture_only(tmp_path, segmentation):
    write_coco(tmp_path, [segmentation])
    with pytest.raises(MediaError, match="Annotation 11"):
        regions(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"images": []}',
        '{"images": [{}], "annotations": []}',
        '{"images": [{"file_name": "b.jpg"}], "annotations": []}',
    ],
)
def test_a_file_that_is_no_coco_file_is_a_usage_error(tmp_path, text):
    (tmp_path / "regions").write_text(text)
    with pytest.raises(UsageError):
        open_regions(tmp_path / "regions")


@pytest.mark.parametrize("name", ["none", "n" * 300])
def test_a_path_without_regions_is_a_usage_error(tmp_path, name):
    with pytest.raises(UsageError, match="There are no regions"):
        open_regions(tmp_path / name)


def test_a_name_to_which_nothing_can_be_added_has_the_regions_of_its_stem(tmp_path, save):
    longest = "n" * 251
    nothing = open_regions(tmp_path).mark(f"{longest}.jpg")
    assert open_regions(tmp_path).regions(f"{longest}.jpg") == ()
    save(f"{longest}.png", LABELS)
    assert list(masks(regions(tmp_path, f"{longest}.jpg"))) == ["1", "7"]
    assert open_regions(tmp_path / "regions").mark(f"{longest}.jpg") != nothing


def test_the_mark_of_a_coco_file_changes_only_for_the_images_that_do(tmp_path):
    path = tmp_path / "regions.json"
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 4, "width": 4} for i in (1, 2)]

    def marks(**changed):
        boxes = [{"id": i, "image_id": i, "bbox": [0, 0, 2, 2]} for i in (1, 2)]
        boxes[1].update(changed)
        path.write_text(json.dumps({"images": images, "annotations": boxes}))
        return [open_regions(path).mark(f"{i}.jpg") for i in (1, 2)]

    before, after = marks(), marks(bbox=[0, 0, 3, 3])
    assert before[0] == after[0] and before[1] != after[1]
    assert marks() == before


@pytest.mark.parametrize("height, width", [(300, 400), (150, 200), (33, 44), (34, 45), (3, 4)])
def test_a_region_may_be_drawn_on_a_smaller_or_larger_copy(height, width):
    check_proportions([Region(np.ones((height, width), bool), "1")], 300, 400)


@pytest.mark.parametrize("height, width", [(400, 300), (300, 300), (448, 448), (310, 400)])
def test_a_region_of_other_proportions_is_told(height, width):
    fitting = Region(np.ones((300, 400), bool), "1")
    with pytest.raises(MediaError) as raised:
        check_proportions([fitting, Region(np.ones((height, width), bool), "2")], 300, 400)
    assert f"region 2 has {width} x {height} pixels, its picture 400 x 300" in str(raised.value)
