import json
import tracemalloc
from dataclasses import replace

import cv2
import kwcoco
import numpy as np
import pytest
import supervision
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.masks import decode_rle, mask_iou
from sa2va_cli.results import ItemResult

KINDS = ("rle", "polygon")
SHAPE = (120, 160)  # H, W of the images in the photos fixture


def export(results, folder, kind="rle", **options):
    export_results(results, ["coco"], folder, ExportOptions(coco_segmentation=kind, **options))
    return json.loads((folder / "annotations.json").read_text())


def stored_masks(results):
    """Masks that are not empty, in the order of items and objects."""
    for item in results.items():
        for mask in results.masks(item.item_id):
            if decode_rle(mask.rle).any():
                yield decode_rle(mask.rle)


def test_ids_start_at_one_and_images_without_objects_are_listed(photos, tmp_path):
    data = export(photos, tmp_path / "out")
    assert [(i["id"], i["file_name"]) for i in data["images"]] == [
        (1, "a.jpg"), (2, "a.png"), (3, "b/a.jpg"), (4, "no objects.jpg"),
    ]  # fmt: skip
    assert [a["id"] for a in data["annotations"]] == [1, 2, 3, 4]
    assert [a["image_id"] for a in data["annotations"]] == [1, 3, 3, 3]


def test_a_category_keeps_one_id_and_all_its_sentences(photos, tmp_path):
    data = export(photos, tmp_path / "out")
    assert data["categories"] == [
        {"id": 1, "name": "car", "prompts": ["the red car", "the truck"]},
        {"id": 2, "name": "dog", "prompts": ["every dog"]},
    ]
    assert [a["category_id"] for a in data["annotations"]] == [1, 1, 2, 2]


def test_annotations_carry_scores_sentence_area_and_box(photos, tmp_path):
    first = export(photos, tmp_path / "out")["annotations"][0]
    assert isinstance(first.pop("segmentation")["counts"], str)
    assert first == {
        "id": 1, "image_id": 1, "category_id": 1, "area": 50, "bbox": [1, 1, 10, 5], "iscrowd": 0,
        "score": 0.6, "object_score": 0.75, "seg_probability": 0.999, "obj_id": 1,
        "label": "the red car", "caption": "the red car",
    }  # fmt: skip


def test_annotations_carry_presence_where_it_was_asked(photos, tmp_path):
    item, masks = photos.results[1]
    answers = (replace(item.answers[0], presence=0.8125), *item.answers[1:])
    results = replace(photos, results=[(replace(item, answers=answers), masks)])
    (annotation,) = export(results, tmp_path / "out")["annotations"]
    assert annotation["presence"] == 0.8125


def test_scores_are_never_nan_or_infinite(photos, tmp_path):
    item, masks = photos.results[1]
    odd = [replace(masks[0], score=float("nan"), object_score=float("inf"))]
    export(replace(photos, results=[(item, odd)]), tmp_path / "out")
    text = (tmp_path / "out" / "annotations.json").read_text()
    assert "NaN" not in text and "Infinity" not in text


def test_min_score_leaves_out_masks_and_keeps_images(photos, tmp_path):
    data = export(photos, tmp_path / "out", min_score=0.65)
    assert [a["score"] for a in data["annotations"]] == [0.95, 0.7]
    assert len(data["images"]) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_pycocotools_reads_the_masks_back(photos, tmp_path, kind):
    export(photos, tmp_path / "out", kind)
    coco = COCO(tmp_path / "out" / "annotations.json")
    masks = [coco.annToMask(annotation).astype(bool) for annotation in coco.anns.values()]
    for mask, stored in zip(masks, stored_masks(photos), strict=True):
        assert mask_iou(mask, stored) >= (1.0 if kind == "rle" else 0.98)


@pytest.mark.filterwarnings("ignore:Table 'images' is missing")  # kwcoco's own names, not COCO's
@pytest.mark.parametrize("kind", KINDS)
def test_kwcoco_finds_the_file_valid(photos, tmp_path, kind):
    export(photos, tmp_path / "out", kind)
    dataset = kwcoco.CocoDataset(tmp_path / "out" / "annotations.json")
    problems = dataset.validate(missing=False, channels=False, require=["area", "iscrowd", "bbox"])
    assert problems["errors"] == []
    assert dataset.category_annotation_frequency() == {"car": 2, "dog": 2}


@pytest.mark.parametrize("kind", KINDS)
def test_supervision_reads_the_masks_back(photos, tmp_path, kind):
    export(photos, tmp_path / "out", kind)
    dataset = supervision.DetectionDataset.from_coco(
        str(tmp_path / "photos"), str(tmp_path / "out" / "annotations.json"), force_masks=True
    )
    by_name = {path.rsplit("photos/")[1]: found for path, _, found in dataset}
    masks = [m for name in sorted(by_name) if len(by_name[name]) for m in by_name[name].mask]
    for mask, stored in zip(masks, stored_masks(photos), strict=True):
        # supervision fills polygons with OpenCV, which counts the pixels on their rim as inside
        grown = cv2.dilate(stored.astype(np.uint8), np.ones((3, 3))).astype(bool)
        assert np.array_equal(mask, stored) if kind == "rle" else not (mask & ~grown).any()
        assert (stored & ~mask).sum() <= stored.sum() * 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_datumaro_reads_the_masks_back(photos, tmp_path, kind):
    from datumaro.components.dataset import Dataset  # imported here: it takes a second

    results = replace(photos, results=[r for r in photos.results if r[0].item_id != "a.png"])
    out = tmp_path / "out"
    export(results, out / "annotations", kind)
    (out / "annotations/annotations.json").rename(out / "annotations/instances_all.json")
    (out / "images").symlink_to(tmp_path / "photos")
    items = {item.id: item for item in Dataset.import_from(str(out), "coco_instances")}
    assert sorted(items) == ["a", "b/a", "no objects"]
    masks = [mask for name in sorted(items) for mask in datumaro_masks(items[name].annotations)]
    for mask, stored in zip(masks, stored_masks(results), strict=True):
        assert mask_iou(mask, stored) >= (1.0 if kind == "rle" else 0.98)


def datumaro_masks(annotations):
    """Union of the polygons of each group, or the masks."""
    masks = {}
    for annotation in annotations:
        if annotation.type.name == "bbox":  # it makes one beside each mask
            continue
        if annotation.type.name == "polygon":
            (rle,) = coco_mask.frPyObjects([annotation.points], *SHAPE)
            mask = coco_mask.decode(rle).astype(bool)
        else:
            mask = np.asarray(annotation.image, bool)
        masks[annotation.group] = masks.get(annotation.group, False) | mask
    return [masks[group] for group in sorted(masks)]


def test_masks_equal_the_pngs_bit_for_bit(photos, tmp_path):
    data = export(photos, tmp_path / "out")
    export_results(photos, ["masks"], tmp_path / "out")
    names = {image["id"]: image["file_name"] for image in data["images"]}
    for annotation in data["annotations"]:
        folder = tmp_path / "out" / "masks" / names[annotation["image_id"]]
        (path,) = folder.glob(f"obj_{annotation['obj_id']:03d}_*.png")
        rle = annotation["segmentation"]
        np.testing.assert_array_equal(np.asarray(Image.open(path)), coco_mask.decode(rle) * 255)


def test_videos_are_left_out_and_the_reader_is_told(clip, tmp_path):
    (exported,) = export_results(clip, ["coco"], tmp_path)
    assert exported.count == 0
    assert "youtube-vis" in exported.notes[0]


def test_the_order_of_results_does_not_change_a_byte(photos, tmp_path):
    export(photos, tmp_path / "one")
    export(replace(photos, results=photos.results[::-1]), tmp_path / "two")
    one, two = (tmp_path / name / "annotations.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


class ManyResults:
    """Images that are made when they are asked for."""

    def __init__(self, count, make):
        self.count, self.make = count, make
        self.mask = make.seen(1, make.box((8, 8), 1, 1, 3, 3))

    def items(self):
        answers = (self.make.answer(0, "car", "the car"),)
        objects = (self.make.found(1, 0, "car", "the car"),)
        for number in range(self.count):
            name = f"{number:06d}.jpg"
            yield ItemResult(name, "", "image", 8, 8, answers=answers, objects=objects)

    def masks(self, item_id):
        yield self.mask

    def failures(self):
        return iter(())


def peak_memory(results, folder):
    tracemalloc.start()
    try:
        export_results(results, ["coco"], folder)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_stays_flat_over_many_images(make, tmp_path):
    few = peak_memory(ManyResults(100, make), tmp_path)
    many = peak_memory(ManyResults(3_000, make), tmp_path)
    assert len(COCO(tmp_path / "annotations.json").anns) == 3_000
    assert many < few + 500_000  # a thousand bytes an image would be three million
