import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import av
import numpy as np
import pytest
from PIL import Image

from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.exporters.links import relative_url, url_of
from sa2va_cli.exporters.report_html import script_safe
from sa2va_cli.results import FrameRun

HOSTILE = "</script><img src=x onerror=alert(1)>&amp;<!--"


class Page(HTMLParser):
    """What a browser sees: elements, and the text of the data block."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.data, self._inside = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._inside = dict(attributes).get("id") == "data"

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, text):
        self.data += text if self._inside else ""


def export(results, folder, **options):
    export_results(results, ["report"], folder, ExportOptions(**options))
    text = (folder / "report.html").read_text(encoding="utf-8")
    return text, json.loads(Page(text).data)


def test_the_page_tells_all_of_every_item(photos, tmp_path):
    _, data = export(photos, tmp_path)
    assert [item["id"] for item in data["items"]] == [
        "a.jpg",
        "a.png",
        "b/a.jpg",
        "no objects.jpg",
    ]
    assert data["failures"] == [{"id": "bad.jpg", "reason": "it is truncated", "attempts": 2}]
    scene = data["items"][2]
    assert [o["found"] for o in scene["objects"]] == [True, False, True, True]
    assert (scene["objects"][2]["score"], scene["objects"][2]["label"]) == (0.7, "every dog")
    assert scene["answers"][0] == {"p": 0, "prompt": "the red car", "text": "Sure, it is."}


def test_what_it_links_to_is_there(photos, tmp_path):
    _, data = export(photos, tmp_path / "out")
    scene = data["items"][2]
    assert scene["picture"] == "../photos/b/a.jpg"
    assert Image.open(tmp_path / "out" / scene["thumb"]).size == (160, 120)
    script = (tmp_path / "out" / scene["masks"]).read_text()
    assert script.startswith('sa2vaMasks("b/a.jpg",120,160,[[1,"')
    assert "masks" not in data["items"][1]  # nothing was found in it


def test_pictures_that_browsers_do_not_show_are_copied(photos, tmp_path):
    item, masks = photos.results[1]
    path = tmp_path / "photos" / "a.tiff"
    Image.new("RGB", (160, 120), "red").save(path)
    results = replace(photos, results=[(replace(item, path=str(path)), masks)])
    _, data = export(results, tmp_path / "out")
    copy = Image.open(tmp_path / "out" / data["items"][0]["picture"])
    assert (copy.format, copy.size) == ("JPEG", (160, 120))


def test_nothing_in_the_data_is_markup(photos, tmp_path):
    item, masks = photos.results[1]
    answers = (replace(item.answers[0], text=HOSTILE, prompt=HOSTILE, category=HOSTILE),)
    objects = (replace(item.objects[0], label=HOSTILE, category=HOSTILE),)
    hostile = replace(item, item_id=HOSTILE, answers=answers, objects=objects, notes=(HOSTILE,))
    plain, _ = export(replace(photos, results=[(item, masks)]), tmp_path / "plain")
    text, data = export(replace(photos, results=[(hostile, masks)]), tmp_path / "out")
    assert data["items"][0]["answers"][0]["text"] == HOSTILE
    assert Page(text).elements == Page(plain).elements
    assert re.fullmatch(r"[A-Za-z0-9_.%/-]+", data["items"][0]["thumb"])


def test_the_page_asks_for_nothing_from_elsewhere(photos, tmp_path):
    text, _ = export(photos, tmp_path)
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", text)
    (policy,) = (e["content"] for tag, e in Page(text).elements if "http-equiv" in e)
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert not any(name.startswith("on") for _, e in Page(text).elements for name in e)


def test_a_picture_that_is_gone_stays_an_item(photos, tmp_path):
    (tmp_path / "photos" / "a.jpg").unlink()
    (exported,) = export_results(photos, ["report"], tmp_path / "out")
    assert exported.count == 4 and "a.jpg" in exported.notes[0]


def test_thresholds_hold_for_the_page(photos, tmp_path):
    _, data = export(photos, tmp_path, min_score=0.65)
    assert [o["found"] for o in data["items"][2]["objects"]] == [True, False, True, False]


def test_presence_is_shown_where_it_was_asked(photos, tmp_path):
    item, masks = photos.results[1]
    answers = (replace(item.answers[0], presence=0.25), *item.answers[1:])
    results = replace(photos, results=[(replace(item, answers=answers), masks)])
    _, data = export(results, tmp_path)
    assert [a.get("presence") for a in data["items"][0]["answers"]] == [0.25, None, None]


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_threads_does_not_change_a_byte(photos, tmp_path, workers):
    once, _ = export(photos, tmp_path / "once", workers=3)
    again, _ = export(photos, tmp_path / "again", workers=workers)
    assert once == again
    for path in (tmp_path / "once" / "report").rglob("*.*"):
        other = tmp_path / "again" / path.relative_to(tmp_path / "once")
        assert path.read_bytes() == other.read_bytes()


def test_script_safe_json_is_the_same_json():
    value = {"a": HOSTILE, "b": "\u2028", "c": "\udce9"}
    assert json.loads(script_safe(value)) == value
    assert not set("<>&\u2028") & set(script_safe(value))


def test_urls_name_exactly_one_file(tmp_path):
    assert url_of(("a b", "c#d?.jpg", "%41", "caf\udce9")) == "a%20b/c%23d%3F.jpg/%2541/caf%E9"
    assert relative_url(str(tmp_path / "in" / "javascript:x"), tmp_path / "out").startswith(
        "../in/j"
    )
    assert ":" not in relative_url(str(tmp_path / "javascript:x"), tmp_path)


def test_the_thumbnail_of_a_video_may_lie_far_behind_its_start(make, tmp_path):
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "50"})
        stream.width, stream.height, stream.pix_fmt = 66, 48, "yuv420p"
        for number in range(600):
            pixels = np.full((48, 66, 3), number // 3, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    item, masks = make.video_results()[0]
    late = [replace(m, frame_idx=570, rle=make.seen(1, make.box((48, 66), 40, 20, 9, 9)).rle)
            for m in masks[:1]]  # fmt: skip
    item = replace(item, path=str(tmp_path / "clip.mp4"), width=66, frames=(FrameRun(570, 1, 1),))
    _, data = export(make.results([(item, late)]), tmp_path / "out")
    thumbnail = np.asarray(Image.open(tmp_path / "out" / data["items"][0]["thumb"]))
    assert abs(thumbnail[5, 5].astype(int) - 570 // 3).max() < 6


def test_videos_have_a_thumbnail_of_a_frame_with_objects(make, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (65, 48), (0, 40 * number, 0)).save(folder / f"{number}.png")
    item, masks = make.video_results()[0]
    late = [m for m in masks if m.frame_idx >= 3]
    _, data = export(make.results([(replace(item, path=str(folder)), late)]), tmp_path / "out")
    video = data["items"][0]
    thumbnail = np.asarray(Image.open(tmp_path / "out" / video["thumb"])).astype(int)
    assert abs(thumbnail[2, 2] - (0, 120, 0)).max() < 12
    assert (tmp_path / "out" / video["video"]).stat().st_size > 0
    assert video["objects"][1]["frames"] == 1
