import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.masks import decode_rle


def export(results, folder, **options):
    export_results(results, ["youtube-vis"], folder, ExportOptions(**options))
    return json.loads((folder / "youtube_vis.json").read_text())


def test_each_object_is_one_track_with_a_place_for_each_frame(clip, tmp_path):
    data = export(clip, tmp_path)
    (video,) = data["videos"]
    assert (video["id"], video["length"], video["width"], video["height"]) == (1, 6, 65, 48)
    assert video["file_names"][5] == "v/clip.mp4/00005.jpg"
    car, dog = data["annotations"]
    assert [(a["id"], a["video_id"], a["category_id"], a["iscrowd"]) for a in (car, dog)] == [
        (1, 1, 1, 0),
        (2, 1, 2, 0),
    ]
    for column in ("segmentations", "bboxes", "areas", "scores"):
        assert [value is None for value in dog[column]] == [False] * 4 + [True] * 2
    assert car["bboxes"][1] == [6, 10, 20, 20]
    assert car["areas"] == [400] * 6
    assert dog["score"] == 0.9 and dog["scores"][3] == 0.7


def test_masks_come_back_exactly(clip, tmp_path):
    tracks = {track["obj_id"]: track for track in export(clip, tmp_path)["annotations"]}
    for mask in clip.masks("v/clip.mp4"):
        rle = tracks[mask.obj_id]["segmentations"][mask.frame_idx]
        if rle is None:
            assert not decode_rle(mask.rle).any()
        else:
            np.testing.assert_array_equal(decode_rle(rle), decode_rle(mask.rle))


def test_frames_that_were_skipped_have_no_place(make, tmp_path):
    data = export(make.results([make.every(10, *make.video_results()[0])]), tmp_path)
    assert data["videos"][0]["frame_idxs"] == [0, 10, 20, 30, 40, 50]
    assert len(data["annotations"][0]["areas"]) == 6


def test_frames_before_the_first_object_have_a_place(make, tmp_path):
    (item, masks) = make.video_results()[0]
    late = [mask for mask in masks if mask.frame_idx >= 3]
    data = export(make.results([(item, late)]), tmp_path)
    assert data["annotations"][0]["areas"] == [None, None, None, 400, 400, 400]


def test_a_video_without_objects_is_listed_with_its_frames(make, tmp_path):
    (item, _) = make.video_results()[0]
    data = export(make.results([(replace(item, objects=()), [])]), tmp_path)
    assert data["videos"][0]["length"] == 6
    assert data["annotations"] == []


def test_an_object_under_the_threshold_is_no_track(clip, tmp_path):
    data = export(clip, tmp_path, min_score=0.85)
    assert [track["obj_id"] for track in data["annotations"]] == [2]
    assert [area is None for area in data["annotations"][0]["areas"]] == [False] * 2 + [True] * 4


def test_images_are_left_out_and_the_reader_is_told(photos, tmp_path):
    (exported,) = export_results(photos, ["youtube-vis"], tmp_path)
    assert "images left out: 4" in exported.notes[0]


def test_nothing_is_left_beside_the_file(clip, tmp_path):
    export(clip, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".sa2va-output", "youtube_vis.json"}


class LongVideo:
    """A video whose masks are made when they are asked for."""

    def __init__(self, item, mask, num_frames):
        self.item, self.mask = replace(item, num_frames=num_frames), mask

    def items(self):
        yield self.item

    def masks(self, item_id):
        for frame_idx in range(self.item.num_frames):
            for record in self.item.objects:
                yield replace(self.mask, frame_idx=frame_idx, obj_id=record.obj_id)

    def failures(self):
        return iter(())


@pytest.mark.parametrize("name", ["youtube-vis", "answers"])
def test_memory_hardly_grows_with_the_frames(make, tmp_path, name):
    item, masks = make.video_results()[0]
    peaks = []
    for num_frames in (100, 2000):
        tracemalloc.start()
        export_results(LongVideo(item, masks[0], num_frames), [name], tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 700_000  # 4,000 masks as records would be two million
