"""Read back with Hugging Face's own library, offline."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet

from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.masks import decode_rle

SHAPE = (120, 160)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """datasets.load_dataset without the network and with its cache in a folder of its own."""
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets  # takes seconds

    def load_dataset(*arguments, **options):
        cache = str(tmp_path / "cache")
        return datasets.load_dataset(*arguments, split="train", cache_dir=cache, **options)

    return load_dataset


def stored(results, item_id):
    masks = [decode_rle(mask.rle) for mask in results.masks(item_id)]
    return [mask for mask in masks if mask.any()]


def test_datasets_shows_parquet_masks_as_pictures(photos, tmp_path, load):
    export_results(photos, ["parquet"], tmp_path)
    rows = load("parquet", data_files=str(tmp_path / "parquet" / "train.parquet"))
    assert rows.num_rows == 4
    row = rows[2]
    assert row["image"].size == SHAPE[::-1]
    for picture, mask in zip(row["masks"], stored(photos, "b/a.jpg"), strict=True):
        np.testing.assert_array_equal(np.asarray(picture), mask * 255)
    assert rows.features["category"].feature.names == ["car", "dog"]
    assert row["category"] == [0, 1, 1] and row["score"] == [0.95, 0.7, 0.4]
    assert rows[3]["masks"] == []


def test_datasets_reads_the_imagefolder(photos, tmp_path, load):
    export_results(photos, ["imagefolder"], tmp_path)
    rows = load("imagefolder", data_dir=str(tmp_path / "imagefolder"))
    by_name = {row["item_id"]: row for row in rows}
    assert len(by_name) == 4
    row = by_name["b/a.jpg"]
    assert row["image"].size == SHAPE[::-1]
    assert row["objects"]["category"] == ["car", "dog", "dog"]
    for counts, mask in zip(row["objects"]["rle"], stored(photos, "b/a.jpg"), strict=True):
        np.testing.assert_array_equal(decode_rle({"size": [*SHAPE], "counts": counts}), mask)


def test_parquet_is_the_same_for_any_order_and_row_groups_are_small(photos, tmp_path):
    many = [
        (replace(item, item_id=f"{number:03d}/{item.item_id}"), masks)
        for number in range(40)
        for item, masks in photos.results[:2]
    ]
    for name, results in (("one", many), ("two", many[::-1])):
        export_results(replace(photos, results=results), ["parquet"], tmp_path / name)
    one, two = (tmp_path / name / "parquet" / "train.parquet" for name in ("one", "two"))
    file = parquet.ParquetFile(one)
    assert file.num_row_groups == 2 and file.metadata.num_rows == 80
    assert two.read_bytes() == one.read_bytes()


def test_pictures_that_are_gone_have_no_row_and_are_told(photos, tmp_path):
    (tmp_path / "photos" / "a.jpg").unlink()
    exported = export_results(photos, ["parquet", "imagefolder"], tmp_path)
    assert [one.count for one in exported] == [3, 3]
    assert all("no longer where they were: 1" in one.notes[0] for one in exported)


def test_imagefolder_rows_follow_thresholds(photos, tmp_path):
    export_results(photos, ["imagefolder"], tmp_path, ExportOptions(min_score=0.65))
    lines = (tmp_path / "imagefolder" / "train" / "metadata.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["objects"]["score"]) for line in lines] == [0, 0, 2, 0]


def test_folders_named_like_splits_stay_in_the_one_split(photos, make, tmp_path, load):
    ids = ["test/1.jpg", "a/my eval-2/2.jpg", "val/dev/3.jpg", "tested/4.jpg", "train/5.jpg"]
    ((item, masks),) = [one for one in photos.results if one[0].item_id == "a.jpg"]
    results = make.results([(replace(item, item_id=item_id), masks) for item_id in ids])
    export_results(results, ["imagefolder"], tmp_path)
    rows = load("imagefolder", data_dir=str(tmp_path / "imagefolder"))
    assert sorted(rows["item_id"]) == sorted(ids)
    assert (tmp_path / "imagefolder" / "train" / "tested" / "4.jpg").is_file()
