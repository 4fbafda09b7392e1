from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from sa2va_cli.exporters import EXPORTERS, export_results
from sa2va_cli.exporters.names import item_file, item_folder, object_name, safe_segment, slugify

ODD = [
    "../../etc/passwd", "..", ".", "a/./b", "a/../b", "/etc/x", "a//b", "-rf", "--help/x.jpg",
    "new\nline.jpg", "tab\t.jpg", "nul\0.jpg", "caf\udce9.jpg", "caf%E9.jpg", "back\\slash.jpg",
    "C:\\x", "a:b", ".hidden.jpg", "trailing. ", "x" * 300 + ".jpg", "x" * 301 + ".jpg",
    "é" * 200, "obj_001_car.png", "a/obj_001/b.jpg", "%6Fbj_001_car.png", "x\u202egpj.exe",
    "photo.jpg", "photo.png", "a/photo.jpg", "Ünïcode/日本.jpg", "a b/c d.jpg", "%", "%25",
    "%_", "",
]  # fmt: skip


@pytest.mark.parametrize("item_id", ODD)
def test_every_segment_is_a_plain_name(item_id):
    for segment in item_folder(item_id):
        assert segment not in ("", ".", "..")
        assert "/" not in segment and "\\" not in segment and segment.isprintable()
        assert segment[0] not in "-." and segment[-1] not in " ."
        assert len(segment.encode()) <= 200  # encodes: no lone surrogates


def test_different_items_get_different_folders():
    folders = {item_folder(item_id) for item_id in ODD}
    assert len(folders) == len(ODD)


@pytest.mark.parametrize(
    "item_id", ["photo.jpg", "a b/c d (1).jpg", "Ünïcode/日本.jpg", "x,y+z.png"]
)
def test_ordinary_names_stay_as_they_are(item_id):
    assert str(PurePosixPath(*item_folder(item_id))) == item_id


def test_a_long_name_keeps_its_beginning_and_its_suffix():
    name = safe_segment("holiday" * 50 + ".jpg")
    assert name.startswith("holidayholiday") and name.endswith(".jpg")


def test_an_items_file_is_never_another_items_folder():
    assert item_file("x", ".overlay.png") == ("x.overlay.png",)
    assert item_file("x.overlay.png/y", ".overlay.png") == ("x%2Eoverlay.png", "y.overlay.png")
    assert item_file("x%2Eoverlay.png/y", ".overlay.png")[0] != "x%2Eoverlay.png"


def test_no_item_can_be_named_like_our_files():
    assert not safe_segment("obj_001_car.png").startswith("obj_")


def test_object_names_are_readable_and_numbered():
    assert object_name(7, "The red car, please!") == "obj_007_the_red_car_please"
    assert object_name(1, "日本 🚀") == "obj_001_日本"
    assert object_name(1, "../..") == "obj_001"
    assert object_name(1, "\udcff") == "obj_001"


def test_slugs_are_short():
    assert len(slugify("word " * 50)) <= 32
    assert len(slugify("漢" * 500).encode()) <= 96


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_a_folder_may_be_named_like_another_items_files(name, photos, make, tmp_path):
    ids = ["a.jpg", "a.jpg/b.png", "a.jpg/b.png/c.jpg", "a", "a/a.jpg", "a.txt/d.jpg"]
    ids += ["a.json/e.jpg", "a.png/x.jpg", "metadata.jsonl/f.jpg", "images/a.jpg/g.jpg"]
    ((item, masks),) = [one for one in photos.results if one[0].item_id == "a.jpg"]
    results = make.results([(replace(item, item_id=item_id), masks) for item_id in ids])
    (exported,) = export_results(results, [name], tmp_path / "out")
    for_videos = ("video", "youtube-vis", "davis", "ref-vos", "failures")
    assert exported.count == (
        0 if name in for_videos else len(ids) * (3 if name == "answers" else 1)
    )


@pytest.mark.parametrize(
    ("name", "folder"), [("yolo", "yolo/images"), ("imagefolder", "imagefolder/train")]
)
def test_pictures_keep_their_places_beside_a_folder_of_their_name(
    name, folder, photos, make, tmp_path
):
    ((item, masks),) = [one for one in photos.results if one[0].item_id == "a.jpg"]
    results = make.results([(replace(item, item_id=i), masks) for i in ("a.jpg", "a.jpg/b.png")])
    export_results(results, [name], tmp_path)
    pictures = {
        p.relative_to(tmp_path / folder).as_posix() for p in Path(tmp_path / folder).rglob("*.??g")
    }
    assert pictures == {"a.jpg", "a.jpg%2F/b.png"}
