from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import supervision
import yaml
from PIL import Image

from sa2va_cli.exporters import export_results
from sa2va_cli.masks import decode_rle, mask_iou


def lines(folder, name):
    return (folder / "yolo" / "labels" / f"{name}.txt").read_text().splitlines()


def test_each_image_has_a_label_file_and_an_empty_one_is_a_negative(photos, tmp_path):
    (exported,) = export_results(photos, ["yolo"], tmp_path)
    assert exported.count == 4
    assert lines(tmp_path, "no objects") == []
    assert len(lines(tmp_path, "b/a")) == 3


def test_same_names_with_other_suffixes_get_files_of_their_own(photos, tmp_path):
    export_results(photos, ["yolo"], tmp_path)
    names = sorted(path.name for path in (tmp_path / "yolo" / "labels").glob("a*"))
    assert names == ["a%2Ejpg.txt", "a%2Epng.txt"]
    pictures = sorted(path.name for path in (tmp_path / "yolo" / "images").glob("a*"))
    assert pictures == ["a%2Ejpg.jpg", "a%2Epng.png"]


def test_a_second_picture_of_a_name_leaves_no_outdated_labels(photos, make, tmp_path):
    items = {item.item_id: (item, masks) for item, masks in photos.results}
    alone = make.results([items["a.jpg"]])
    for results in (alone, photos):
        export_results(results, ["yolo", "labelme"], tmp_path)
    names = sorted(path.name for path in (tmp_path / "yolo").rglob("a*") if "b" not in path.parts)
    assert names == ["a%2Ejpg.jpg", "a%2Ejpg.txt", "a%2Epng.png", "a%2Epng.txt"]
    assert sorted(path.name for path in (tmp_path / "labelme").glob("a*")) == [
        "a%2Ejpg.json",
        "a%2Epng.json",
    ]


def test_readers_find_the_labels_of_pictures_in_folders_named_images(photos, make, tmp_path):
    ids = ("images/a.jpg", "data/images/train/b.jpg", "imagesets/labels/c.d.jpg")
    ((item, masks),) = [one for one in photos.results if one[0].item_id == "a.jpg"]
    results = make.results([(replace(item, item_id=item_id), masks) for item_id in ids])
    export_results(results, ["yolo"], tmp_path)
    pictures = sorted((tmp_path / "yolo" / "images").rglob("*.jpg"))
    assert len(pictures) == len(ids)
    for picture in pictures:  # the rule of ultralytics
        before, after = str(picture).rsplit("/images/", 1)
        label = Path(f"{before}/labels/{after}").with_suffix(".txt")
        assert label.is_file(), picture


def test_the_yaml_holds_wherever_it_is_read_from(photos, tmp_path):
    export_results(photos, ["yolo"], tmp_path)
    data = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert "path" not in data, "a relative one would start from the reader's working folder"
    assert data["train"] == data["val"] == "images"


def test_coordinates_are_parts_of_the_picture_and_classes_count_from_zero(photos, tmp_path):
    export_results(photos, ["yolo"], tmp_path)
    (line,) = lines(tmp_path, "a%2Ejpg")
    number, *coordinates = line.split()
    assert number == "0"
    assert {float(x) * 160 for x in coordinates[::2]} == {1.0, 11.0}
    assert {round(float(y) * 120, 3) for y in coordinates[1::2]} == {1.0, 6.0}


def test_holes_are_filled_parts_are_joined_and_the_reader_is_told(photos, tmp_path):
    (exported,) = export_results(photos, ["yolo"], tmp_path)
    assert "holes are filled, because YOLO has none: 2" in exported.notes[0]
    points = np.array(lines(tmp_path, "b/a")[0].split()[1:], float).reshape(-1, 2) * (160, 120)
    scene = decode_rle(next(photos.masks("b/a.jpg")).rle).astype(np.uint8)
    outer, _ = cv2.findContours(scene, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(filled := np.zeros((120, 160), np.uint8), outer, -1, 1, -1)
    rastered = np.zeros((120, 160), np.uint8)
    cv2.fillPoly(rastered, [np.floor(points).astype(np.int32)], 1)
    assert mask_iou(rastered > 0, filled > 0) > 0.93


def test_supervision_reads_it_back(make, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    mask = make.box((120, 160), 20, 30, 80, 60)
    item, masks = make.image_results()[1]
    Image.new("RGB", (160, 120)).save(folder / "a.jpg")
    record = replace(masks[0], rle=make.seen(1, mask).rle)
    export_results(
        make.results([(replace(item, path=str(folder / "a.jpg")), [record])]), ["yolo"], tmp_path
    )
    yolo = tmp_path / "yolo"
    dataset = supervision.DetectionDataset.from_yolo(
        str(yolo / "images"), str(yolo / "labels"), str(yolo / "data.yaml"), force_masks=True
    )
    ((_, _, found),) = list(dataset)
    assert dataset.classes == ["car", "dog"]
    assert mask_iou(found.mask[0], mask) > 0.95


def test_category_names_are_data_in_the_yaml(make, tmp_path):
    item, masks = make.image_results()[1]
    hostile = "a: [b]\n- !!python/object:os.system {x}"
    objects = (replace(item.objects[0], category=hostile),)
    results = make.results([(replace(item, objects=objects, answers=()), masks)])
    export_results(results, ["yolo"], tmp_path)
    data = yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())
    assert data["names"] == {0: hostile}


def test_pictures_that_are_gone_are_told(photos, tmp_path):
    (tmp_path / "photos" / "a.jpg").unlink()
    (exported,) = export_results(photos, ["yolo"], tmp_path)
    assert "pictures that are no longer where they were: 1" in exported.notes
