"""Pictures above the usual limit, which `--max-pixels` had let in; here the limit is low."""

from dataclasses import replace

import pytest
from PIL import Image, ImageFile

from sa2va_cli.exporters import export_results
from sa2va_cli.media.image import load_image
from sa2va_cli.media.video import open_video


@pytest.fixture
def low_limit(monkeypatch):
    monkeypatch.setattr(load_image, "__defaults__", (100,))
    *others, _ = open_video.__defaults__
    monkeypatch.setattr(open_video, "__defaults__", (*others, 100))


def test_what_was_annotated_is_drawn_however_large_it_is(photos, tmp_path, low_limit):
    exported = export_results(photos, ["overlay", "report"], tmp_path / "out")
    assert [(one.count, one.notes) for one in exported] == [(4, ()), (4, ())]
    assert len(list((tmp_path / "out/report/thumbnails").rglob("*.jpg"))) == 4


def test_a_picture_for_which_memory_does_not_suffice_is_told(photos, tmp_path, monkeypatch):
    def no_room(*_):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", no_room)
    (exported,) = export_results(photos, ["overlay"], tmp_path / "out")
    assert exported.count == 0 and "does not fit into memory" in exported.notes[0]


def test_frames_of_a_folder_are_drawn_however_large_they_are(make, tmp_path, low_limit):
    (tmp_path / "frames").mkdir()
    for number in range(2):
        Image.new("RGB", (65, 48)).save(tmp_path / "frames" / f"{number}.png")
    item, _ = make.video_results(2)[0]
    results = make.results([(replace(item, path=str(tmp_path / "frames"), objects=()), [])])
    exported = export_results(results, ["video", "report"], tmp_path / "out")
    assert [(one.count, one.notes) for one in exported] == [(1, ()), (1, ())]


def test_a_picture_that_grew_beyond_the_limit_since_is_told(photos, tmp_path, low_limit):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "photos" / "a.png")
    (exported,) = export_results(photos, ["overlay"], tmp_path / "out")
    assert exported.count == 3 and "more than the limit of" in exported.notes[0]


def test_originals_of_which_the_disk_tells_nothing_are_those_that_are_gone(photos, make, tmp_path):
    """As when a network disk has died: not "there is none", but an error. So with a long name."""

    def lost(results):
        return make.results([(replace(i, path="/" + 300 * "n"), m) for i, m in results.results])

    pictures = ["yolo", "imagefolder", "parquet", "overlay", "report"]
    for exported in export_results(lost(photos), pictures, tmp_path / "photos-out"):
        assert any("no longer" in note or "File name too long" in note for note in exported.notes)
    videos = make.results(make.video_results())
    export_results(lost(videos), ["youtube-vis", "davis", "ref-vos"], tmp_path / "videos-out")
    (exported,) = export_results(lost(videos), ["video"], tmp_path / "videos-out")
    assert exported.count == 0 and exported.notes
