"""Formats that labeling tools import: labelme, Label Studio, CVAT."""

import importlib.util
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import supervision
from pycocotools.coco import COCO

from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.exporters.label_studio import brush_rle
from sa2va_cli.exporters.polygons import fill_polygons
from sa2va_cli.masks import decode_rle, mask_iou

SHAPE = (120, 160)
POLYGON = ExportOptions(coco_segmentation="polygon")


def stored(results, item_id):
    masks = {mask.obj_id: decode_rle(mask.rle) for mask in results.masks(item_id)}
    return {obj_id: mask for obj_id, mask in masks.items() if mask.any()}


def test_labelme_groups_the_parts_of_an_object(photos, tmp_path):
    export_results(photos, ["labelme"], tmp_path)
    path = tmp_path / "labelme" / "b" / "a.json"
    data = json.loads(path.read_text())
    assert (data["imageHeight"], data["imageWidth"], data["imageData"]) == (*SHAPE, None)
    assert (path.parent / data["imagePath"]).resolve() == tmp_path / "photos" / "b" / "a.jpg"
    for obj_id, mask in stored(photos, "b/a.jpg").items():
        shapes = [shape for shape in data["shapes"] if shape["group_id"] == obj_id]
        filled = fill_polygons([np.array(shape["points"]) for shape in shapes], *SHAPE)
        assert mask_iou(filled, mask) >= 0.98


def test_supervision_reads_labelme_files(photos, tmp_path):
    export_results(photos, ["labelme"], tmp_path)
    dataset = supervision.DetectionDataset.from_labelme(
        str(tmp_path / "photos" / "b"), str(tmp_path / "labelme" / "b"), force_masks=True
    )
    ((_, _, found),) = list(dataset)
    together = np.any(list(stored(photos, "b/a.jpg").values()), axis=0)
    assert mask_iou(found.mask.any(axis=0), together) > 0.9
    assert set(dataset.classes) == {"car", "dog"}


def their_decoder():
    """Label Studio's own, without the rest of its SDK and the dependencies of that."""
    found = importlib.util.find_spec("label_studio_sdk")
    if found is None or not found.submodule_search_locations:
        pytest.skip("no label-studio-sdk here: make setup installs it")
    path = Path(found.submodule_search_locations[0]) / "converter" / "brush.py"
    spec = importlib.util.spec_from_file_location("label_studio_brush", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.decode_rle


def decode_brush(data):
    """What thi.ng/rle-pack says, bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in data)
    place = 0

    def read(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        run, length = read(1), None
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if run else [read(word) for _ in range(length)]
    return np.array(values, np.uint8)


@pytest.fixture(params=["theirs", "ours"])
def brush_decoder(request):
    return their_decoder() if request.param == "theirs" else decode_brush


@pytest.mark.parametrize("density", [0.0, 0.5, 1.0])
def test_brushes_come_back_exactly(density, brush_decoder):
    mask = np.random.default_rng(0).random((130, 170)) < density
    mask[:60] = True  # a run that is longer than 65,536 values is cut into two
    values = brush_decoder(brush_rle(mask)).reshape(130, 170, 4)
    for channel in range(4):
        np.testing.assert_array_equal(values[..., channel], mask * 255)


def test_label_studio_gets_a_task_for_each_image_with_its_masks(photos, brush_decoder, tmp_path):
    export_results(photos, ["label-studio"], tmp_path)
    tasks = json.loads((tmp_path / "label_studio" / "tasks.json").read_text())
    assert [task["data"]["item_id"] for task in tasks][2:] == ["b/a.jpg", "no objects.jpg"]
    assert tasks[3]["data"]["image"] == "/data/local-files/?d=no%20objects.jpg"
    regions = tasks[2]["predictions"][0]["result"]
    assert [region["value"]["brushlabels"] for region in regions] == [["car"], ["dog"], ["dog"]]
    for region, mask in zip(regions, stored(photos, "b/a.jpg").values(), strict=True):
        assert (region["original_height"], region["original_width"]) == SHAPE
        values = brush_decoder(region["value"]["rle"]).reshape(*SHAPE, 4)
        np.testing.assert_array_equal(values[..., 3], mask * 255)


def test_label_studio_polygons_are_in_percent(photos, tmp_path):
    export_results(photos, ["label-studio"], tmp_path, POLYGON)
    tasks = json.loads((tmp_path / "label_studio" / "tasks.json").read_text())
    (region,) = tasks[0]["predictions"][0]["result"]
    assert region["type"] == "polygonlabels"
    points = np.array(region["value"]["points"]) / 100 * (160, 120)
    np.testing.assert_array_equal(fill_polygons([points], *SHAPE), stored(photos, "a.jpg")[1])


@pytest.mark.parametrize("options", [ExportOptions(), POLYGON])
def test_the_label_studio_setup_names_the_same_tags(photos, tmp_path, options):
    item, masks = photos.results[1]
    hostile = '"><Image/> & <b>'
    objects = (replace(item.objects[0], category=hostile),)
    results = replace(photos, results=[(replace(item, objects=objects), masks)])
    export_results(results, ["label-studio"], tmp_path, options)
    view = ElementTree.parse(tmp_path / "label_studio" / "config.xml").getroot()
    assert len(view) == 2 and view[0].tag == "Image"
    assert hostile in [label.get("value") for label in view[1]]
    (task,) = json.loads((tmp_path / "label_studio" / "tasks.json").read_text())
    region = task["predictions"][0]["result"][0]
    assert (region["from_name"], region["to_name"]) == (view[1].get("name"), view[0].get("name"))
    assert region["type"] == view[1].tag.lower()


@pytest.mark.parametrize("options", [ExportOptions(), POLYGON])
def test_cvat_gets_coco_with_masks_as_crowds_or_polygons(photos, tmp_path, options):
    export_results(photos, ["cvat"], tmp_path, options)
    path = tmp_path / "cvat" / "annotations" / "instances_default.json"
    coco = COCO(path)
    crowd = options.coco_segmentation == "rle"
    assert {annotation["iscrowd"] for annotation in coco.anns.values()} == {int(crowd)}
    masks = [coco.annToMask(a).astype(bool) for a in coco.loadAnns(coco.getAnnIds(imgIds=3))]
    for mask, expected in zip(masks, stored(photos, "b/a.jpg").values(), strict=True):
        assert mask_iou(mask, expected) >= (1.0 if crowd else 0.98)
    known = {"id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd"}
    assert all(annotation.keys() == known for annotation in coco.anns.values())


def test_datumaro_which_is_in_cvat_reads_its_masks(photos, tmp_path):
    from datumaro.components.dataset import Dataset  # imported here: it takes a second

    results = replace(photos, results=[r for r in photos.results if r[0].item_id != "a.png"])
    export_results(results, ["cvat"], tmp_path)
    (tmp_path / "cvat" / "images").symlink_to(tmp_path / "photos")
    items = {i.id: i for i in Dataset.import_from(str(tmp_path / "cvat"), "coco_instances")}
    found = [a for a in items["b/a"].annotations if a.type.name == "mask"]
    masks = [annotation.image for annotation in sorted(found, key=lambda a: a.group)]
    for mask, expected in zip(masks, stored(photos, "b/a.jpg").values(), strict=True):
        np.testing.assert_array_equal(np.asarray(mask, bool), expected)
