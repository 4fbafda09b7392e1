import json
from dataclasses import replace

import numpy as np

from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.exporters.item_json import item_json
from sa2va_cli.masks import decode_rle


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_answers_have_a_line_for_each_item_and_prompt(photos, tmp_path):
    export_results(photos, ["answers"], tmp_path)
    answers = lines(tmp_path / "answers.jsonl")
    assert [(a["item_id"], a["prompt"]) for a in answers[6:9]] == [
        ("b/a.jpg", "the red car"),
        ("b/a.jpg", "the truck"),
        ("b/a.jpg", "every dog"),
    ]
    assert len(answers) == 12
    assert answers[8]["text"] == "Sure, it is."
    assert [(o["obj_id"], o["area"], o["score"]) for o in answers[8]["objects"]] == [
        (3, 1500, 0.7),
        (4, 1764, 0.4),
    ]


def test_what_was_looked_for_and_is_not_there_is_visible(photos, tmp_path):
    export_results(photos, ["answers"], tmp_path)
    truck = lines(tmp_path / "answers.jsonl")[7]["objects"][0]
    assert (truck["found"], truck["score"], truck["area"]) == (False, 0.2, 0)


def test_a_mask_under_the_threshold_is_told_as_not_found(photos, tmp_path):
    export_results(photos, ["answers"], tmp_path, ExportOptions(min_score=0.65))
    dogs = lines(tmp_path / "answers.jsonl")[8]["objects"]
    assert [(dog["found"], dog["score"]) for dog in dogs] == [(True, 0.7), (False, 0.4)]


def test_answers_on_videos_tell_in_which_frames_an_object_is(clip, tmp_path):
    export_results(clip, ["answers"], tmp_path)
    dog = lines(tmp_path / "answers.jsonl")[1]["objects"][0]
    assert (dog["frames"], dog["frames_looked_at"]) == (4, 6)
    assert (dog["first_frame"], dog["last_frame"], dog["best"]["frame_idx"]) == (0, 3, 0)


def test_failures_are_listed_with_their_reason(photos, clip, tmp_path):
    export_results(photos, ["failures"], tmp_path)
    assert lines(tmp_path / "failures.jsonl") == [
        {"item_id": "bad.jpg", "path": "/in/bad.jpg", "reason": "it is truncated", "attempts": 2}
    ]
    export_results(clip, ["failures"], tmp_path)
    assert (tmp_path / "failures.jsonl").read_text() == ""


def test_an_item_is_one_line_with_all_its_masks(clip, tmp_path):
    (item,) = clip.items()
    line = item_json(item, clip.masks(item.item_id))
    assert "\n" not in line
    data = json.loads(line)
    assert (data["item_id"], data["num_frames"], data["fps"]) == ("v/clip.mp4", 6, 12.5)
    for stored in clip.masks(item.item_id):
        mask = data["objects"][stored.obj_id - 1]["masks"][stored.frame_idx]
        np.testing.assert_array_equal(decode_rle(mask["rle"]), decode_rle(stored.rle))
    export_results(clip, ["jsonl"], tmp_path)
    assert (tmp_path / "results.jsonl").read_text() == line + "\n"


def test_names_that_are_no_unicode_survive(make):
    (item, masks) = make.image_results()[1]
    line = item_json(replace(item, item_id="caf\udce9\n.jpg"), masks)
    line.encode("ascii")
    assert "\n" not in line
    assert json.loads(line)["item_id"] == "caf\udce9\n.jpg"
