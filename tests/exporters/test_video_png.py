import json
from dataclasses import replace

import numpy as np
from PIL import Image

from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.masks import decode_rle

FRAMES = [f"{idx:05d}" for idx in range(6)]


def stored(results, frame_idx, obj_id):
    (mask,) = (
        mask
        for mask in results.masks("v/clip.mp4")
        if (mask.frame_idx, mask.obj_id) == (frame_idx, obj_id)
    )
    return decode_rle(mask.rle)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_davis_pictures_are_palettes_of_object_numbers(clip, tmp_path):
    export_results(clip, ["davis"], tmp_path)
    folder = tmp_path / "davis/Annotations/v/clip.mp4"
    assert names(folder) == [f"{name}.png" for name in FRAMES]
    picture = Image.open(folder / "00005.png")
    assert (picture.mode, picture.size) == ("P", (65, 48))
    assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    np.testing.assert_array_equal(np.asarray(picture), stored(clip, 5, 1))


def test_where_objects_overlap_the_higher_score_wins(clip, tmp_path):
    export_results(clip, ["davis"], tmp_path)
    folder = tmp_path / "davis/Annotations/v/clip.mp4"
    for frame_idx, winner in ((1, 2), (2, 1)):  # the dog's score falls from 0.9 to 0.7
        both = stored(clip, frame_idx, 1) & stored(clip, frame_idx, 2)
        assert both.any()
        values = np.asarray(Image.open(folder / f"{frame_idx:05d}.png"))
        assert set(values[both]) == {winner}


def test_davis_numbers_are_named(clip, tmp_path):
    export_results(clip, ["davis"], tmp_path)
    (line,) = (tmp_path / "davis/objects.jsonl").read_text().splitlines()
    assert json.loads(line)["objects"]["2"] == {"category": "dog", "label": "every dog"}


def test_the_submission_has_a_folder_for_each_sentence(clip, tmp_path):
    export_results(clip, ["ref-vos"], tmp_path)
    folder = tmp_path / "ref_vos/Annotations/v/clip.mp4"
    assert names(folder) == ["0", "2"]
    for frame_idx, name in enumerate(FRAMES):
        for expression, obj_id in (("0", 1), ("2", 2)):
            picture = Image.open(folder / expression / f"{name}.png")
            assert (picture.mode, picture.size) == ("L", (65, 48))
            expected = stored(clip, frame_idx, obj_id) * 255
            np.testing.assert_array_equal(np.asarray(picture), expected)


def test_the_sentences_and_frames_of_the_submission_are_listed(clip, tmp_path):
    export_results(clip, ["ref-vos"], tmp_path)
    meta = json.loads((tmp_path / "ref_vos/meta_expressions.json").read_text())
    assert meta["videos"]["v/clip.mp4"] == {
        "expressions": {"0": {"exp": "the red car"}, "2": {"exp": "every dog"}},
        "frames": FRAMES,
    }


def test_several_objects_of_a_sentence_become_one_mask(make, tmp_path):
    item, masks = make.video_results()[0]
    objects = tuple(replace(record, prompt_idx=0) for record in item.objects)
    results = make.results([(replace(item, objects=objects), masks)])
    export_results(results, ["ref-vos"], tmp_path)
    folder = tmp_path / "ref_vos/Annotations/v/clip.mp4"
    both = stored(results, 0, 1) | stored(results, 0, 2)
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "0/00000.png")) > 0, both)
    assert not np.asarray(Image.open(folder / "2/00000.png")).any()


def test_a_video_without_objects_gets_black_frames(make, tmp_path):
    item, _ = make.video_results()[0]
    results = make.results([(replace(item, objects=()), [])])
    export_results(results, ["davis", "ref-vos"], tmp_path)
    for folder in ("davis/Annotations/v/clip.mp4", "ref_vos/Annotations/v/clip.mp4/2"):
        assert names(tmp_path / folder) == [f"{name}.png" for name in FRAMES]
        assert not np.asarray(Image.open(tmp_path / folder / "00003.png")).any()


def test_fewer_frames_leave_none_of_the_old_ones(make, tmp_path):
    for count in (6, 3):
        results = make.results(make.video_results(count))
        export_results(results, ["davis", "ref-vos"], tmp_path, ExportOptions())
    for folder in ("davis/Annotations/v/clip.mp4", "ref_vos/Annotations/v/clip.mp4/0"):
        assert names(tmp_path / folder) == [f"{name}.png" for name in FRAMES[:3]]


def test_objects_that_no_palette_has_room_for_are_told(make, tmp_path):
    item, masks = make.video_results(1)[0]
    objects = tuple(make.found(number, 0, "car", "car") for number in range(1, 301))
    masks = [replace(masks[0], obj_id=number) for number in range(1, 301)]
    results = make.results([(replace(item, objects=objects), masks)])
    (exported,) = export_results(results, ["davis"], tmp_path)
    assert "after number 255" in exported.notes[0]
