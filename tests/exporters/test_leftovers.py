import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sa2va_cli.errors import JobError
from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.exporters.files import OutputFolder
from sa2va_cli.exporters.leftovers import Kind, remove_leftovers

MANY = ["yolo", "labelme", "masks", "overlay", "imagefolder", "report", "davis", "ref-vos"]
TEXTS = Kind(("texts",), r".+\.txt")
NONE_ASKED = ExportOptions()


def tree(folder):
    """Every file and link below, and folders, which have no content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def without(results, *item_ids):
    kept = [one for one in results.results if one[0].item_id not in item_ids]
    return replace(results, results=kept)


@pytest.mark.parametrize("name", MANY)
def test_an_export_leaves_what_it_would_in_an_empty_folder(name, photos, clip, tmp_path):
    clips = clip.results if name != "report" else ()  # this clip has no file to be drawn from
    both = replace(photos, results=[*photos.results, *clips])
    fewer = without(both, "b/a.jpg", "a.png", "v/clip.mp4")
    again, fresh = tmp_path / "again", tmp_path / "fresh"
    export_results(both, [name], again)
    before = tree(again)
    (exported,) = export_results(fewer, [name], again)
    export_results(fewer, [name], fresh)
    assert tree(again) == tree(fresh) != before
    assert any("files of an earlier export removed" in note for note in exported.notes)


def test_links_to_pictures_that_are_gone_go_too(photos, tmp_path):
    export_results(photos, ["yolo", "imagefolder"], tmp_path / "out")
    (tmp_path / "photos" / "b" / "a.jpg").unlink()
    export_results(without(photos, "b/a.jpg"), ["yolo", "imagefolder"], tmp_path / "out")
    for folder in ("yolo/images", "imagefolder/train"):
        assert not os.path.lexists(tmp_path / "out" / folder / "b")


def test_overlays_of_videos_that_are_no_longer_done_go(photos, tmp_path):
    overlays = tmp_path / "overlays"
    overlays.mkdir()
    for name in ("old.mp4.overlay.mp4", "answer-001.overlay.mp4", "a.mp4"):
        (overlays / name).touch()
    export_results(photos, ["video"], tmp_path)
    assert names(overlays) == ["a.mp4", "answer-001.overlay.mp4"]


def test_what_cannot_be_written_anew_stays(photos, tmp_path):
    export_results(photos, ["overlay"], tmp_path)
    before = tree(tmp_path / "overlays")
    for item in photos.items():
        Path(item.path).unlink()
    (exported,) = export_results(photos, ["overlay"], tmp_path)
    assert exported.count == 0
    assert tree(tmp_path / "overlays") == before


def test_files_of_the_user_stay(photos, tmp_path):
    own = {
        "yolo/labels/notes.txt": "look at b again\n",
        "yolo/labels/classes.txt": "car\ndog\n",
        "yolo/images/mine.jpg": "a copy",
        "labelme/by hand.json": json.dumps({"version": "5.5.0", "flags": {}}, indent=2),
        "masks/a.jpg/notes.png": "x",
        "masks/mine/mask.png": "x",
        "overlays/contact sheet.png": "x",
        "imagefolder/train/README.md": "x",
        "report/notes.txt": "x",
        "texts/mine.txt": "x",
    }
    for name, text in own.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for results in (photos, without(photos, "b/a.jpg")):
        export_results(results, ["yolo", "labelme", "masks", "overlay", "imagefolder"], tmp_path)
        export_results(results, ["report"], tmp_path)
    for name, text in own.items():
        assert (tmp_path / name).read_text() == text


def test_labels_that_labelme_saved_since_are_somebodys_work(photos, tmp_path):
    export_results(photos, ["labelme"], tmp_path)
    edited, untouched = tmp_path / "labelme/a%2Ejpg.json", tmp_path / "labelme/a%2Epng.json"
    edited.write_text(json.dumps(json.loads(edited.read_text()), indent=2))
    export_results(without(photos, "a.jpg", "a.png"), ["labelme"], tmp_path)
    assert edited.exists() and not untouched.exists()


def test_answers_of_a_chat_stay_and_leave_the_rest(photos, tmp_path):
    for name in ("masks/answer-001/obj_001.png", "overlays/answer-001.overlay.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (1, 1)).save(tmp_path / name)
    export_results(photos, ["masks", "overlay"], tmp_path)
    before = tree(tmp_path)
    assert "masks/answer-001/obj_001.png" in before
    assert "overlays/answer-001.overlay.png" in before
    export_results(
        without(photos, "a.jpg"), ["masks", "overlay"], tmp_path, ExportOptions(adds=True)
    )
    assert tree(tmp_path) == before


def test_folders_behind_links_are_not_ours(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "a.txt").touch()
    folder = OutputFolder(tmp_path / "out")
    stale = folder.path("texts", "old", "a.txt")
    stale.touch()
    (folder.root / "texts" / "elsewhere").symlink_to(precious)
    (folder.root / "texts" / "link.txt").symlink_to(precious / "a.txt")
    for links in (False, True):
        remove_leftovers(
            OutputFolder(folder.root), NONE_ASKED, replace(TEXTS, path=".+", links=links)
        )
    assert names(precious) == ["a.txt"]
    assert names(folder.root / "texts") == ["elsewhere"]


def test_a_link_in_place_of_the_whole_folder_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a.txt").touch()
    folder = OutputFolder(tmp_path / "out")
    (folder.root / "texts").symlink_to(tmp_path / "precious")
    assert remove_leftovers(folder, NONE_ASKED, TEXTS) == ()
    assert names(tmp_path / "precious") == ["a.txt"]


def test_names_that_some_disks_give_back_changed_are_the_same_files(tmp_path):
    folder = OutputFolder(tmp_path)
    folder.path("texts", "Caf\u00e9.txt")
    (tmp_path / "texts" / "cafe\u0301.txt").touch()  # as it was before on a disk without cases
    assert remove_leftovers(folder, NONE_ASKED, TEXTS) == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_write_protected_is_named(tmp_path):
    stale = OutputFolder(tmp_path).path("texts", "a.txt")
    stale.touch()
    stale.parent.chmod(0o500)
    try:
        with pytest.raises(JobError, match=r"Cannot write .*texts"):
            remove_leftovers(OutputFolder(tmp_path), NONE_ASKED, TEXTS)
    finally:
        stale.parent.chmod(0o700)
