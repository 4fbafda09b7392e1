from dataclasses import replace

import numpy as np
from PIL import Image

from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.masks import decode_rle


def tree(folder):
    """All files but the mark."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return sorted(str(path.relative_to(folder)) for path in files)


def test_images_get_one_file_for_each_mask_that_is_not_empty(photos, tmp_path):
    (exported,) = export_results(photos, ["masks"], tmp_path / "out")
    assert tree(tmp_path / "out") == [
        "masks/a.jpg/obj_001_car.png",
        "masks/b/a.jpg/obj_001_car.png",
        "masks/b/a.jpg/obj_003_dog.png",
        "masks/b/a.jpg/obj_004_dog.png",
    ]
    assert (exported.count, exported.path.name) == (4, "masks")


def test_masks_are_black_and_white_and_equal_those_in_the_store(photos, tmp_path):
    export_results(photos, ["masks"], tmp_path)
    for mask in photos.masks("b/a.jpg"):
        for path in (tmp_path / "masks/b/a.jpg").glob(f"obj_{mask.obj_id:03d}_*"):
            picture = Image.open(path)
            assert (picture.mode, picture.size) == ("L", (160, 120))
            np.testing.assert_array_equal(np.asarray(picture), decode_rle(mask.rle) * 255)


def test_videos_get_a_folder_for_each_object_with_every_frame(clip, tmp_path):
    export_results(clip, ["masks"], tmp_path)
    names = [f"frame_{idx:06d}.png" for idx in range(6)]
    folder = tmp_path / "masks/v/clip.mp4"
    assert tree(folder) == [f"{obj}/{n}" for obj in ("obj_001_car", "obj_002_dog") for n in names]
    assert np.asarray(Image.open(folder / "obj_002_dog" / names[5])).max() == 0


def test_a_second_export_with_another_threshold_leaves_nothing_stale(photos, clip, tmp_path):
    both = replace(photos, results=[*photos.results, *clip.results])
    export_results(both, ["masks"], tmp_path / "again", ExportOptions())
    for folder in ("again", "fresh"):
        export_results(both, ["masks"], tmp_path / folder, ExportOptions(min_score=0.65))
    assert tree(tmp_path / "again") == tree(tmp_path / "fresh")
    for name in tree(tmp_path / "fresh"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()


def test_the_number_of_threads_does_not_change_a_byte(photos, tmp_path):
    for workers in (1, 4):
        export_results(photos, ["masks"], tmp_path / str(workers), ExportOptions(workers=workers))
    assert tree(tmp_path / "1") == tree(tmp_path / "4")
    for name in tree(tmp_path / "1"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "4" / name).read_bytes()


def test_items_with_hostile_names_stay_in_the_folder(make, tmp_path):
    item, masks = make.image_results()[1]
    names = ["../../up.jpg", "..", "new\nline.jpg", "-rf.jpg", "caf\udce9.jpg", "/abs.jpg"]
    results = make.results([(replace(item, item_id=name), masks) for name in names])
    export_results(results, ["masks"], tmp_path / "deep" / "out")
    assert len(tree(tmp_path)) == len(tree(tmp_path / "deep" / "out" / "masks")) == len(names)
