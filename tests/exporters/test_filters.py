from dataclasses import replace
from pathlib import Path

import pytest

from sa2va_cli.errors import UsageError
from sa2va_cli.exporters import (
    EXPORTERS,
    ExportOptions,
    export_results,
    get_exporter,
    parse_formats,
)
from sa2va_cli.exporters.categories import Categories
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.masks import rle_area


def areas(results, item_id, **options):
    filtered = with_thresholds(results, ExportOptions(**options))
    return [rle_area(mask.rle) for mask in filtered.masks(item_id)]


def test_masks_under_the_score_are_emptied_and_their_records_stay(photos):
    before = areas(photos, "b/a.jpg")
    assert areas(photos, "b/a.jpg", min_score=0.5) == [before[0], 0, before[2], 0]


def test_a_score_that_is_no_number_falls_under_every_threshold(photos):
    item, masks = photos.results[1]
    odd = replace(photos, results=[(item, [replace(masks[0], score=float("nan"))])])
    assert areas(odd, "a.jpg") == [50]
    assert areas(odd, "a.jpg", min_score=0.01) == [0]


def test_objects_of_prompts_that_are_probably_absent_are_emptied(photos):
    item, masks = photos.results[0]
    answers = tuple(
        replace(a, presence=p) for a, p in zip(item.answers, (0.9, 0.8, 0.3), strict=True)
    )
    results = replace(photos, results=[(replace(item, answers=answers), masks)])
    before = areas(results, "b/a.jpg")
    assert areas(results, "b/a.jpg", min_presence=0.5) == [before[0], 0, 0, 0]
    assert areas(photos, "b/a.jpg", min_presence=0.5) == before  # where it was not asked


def test_category_ids_follow_the_prompts_and_not_the_items(make):
    item, masks = make.image_results()[1]
    late = replace(item, item_id="z.jpg", answers=(make.answer(0, "zebra", "a zebra"),), objects=())
    results = make.results([(item, masks), (late, [])])
    found = [(c.category_id, c.name, c.prompts) for c in Categories(results)]
    assert found == [
        (1, "car", ("the red car", "the truck")),
        (2, "zebra", ("a zebra",)),
        (3, "dog", ("every dog",)),
    ]


def test_phrases_of_a_caption_share_the_category_of_the_request(make):
    item, masks = make.image_results()[1]
    caption = make.answer(0, "caption", "Please describe it.")
    phrases = tuple(make.found(idx, 0, "caption", text) for idx, text in ((1, "a cat"), (2, "a")))
    results = make.results([(replace(item, answers=(caption,), objects=phrases), masks)])
    assert [(c.name, c.prompts) for c in Categories(results)] == [
        ("caption", ("Please describe it.",))
    ]


def test_formats_are_named_once_and_checked_before_anything_is_written(photos, tmp_path):
    assert parse_formats("coco, masks,coco") == ("coco", "masks")
    with pytest.raises(UsageError, match="Unknown format 'nope'"):
        export_results(photos, ["coco", "nope"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"coco_segmentation": "bitmap"},
        {"min_score": 1.5},
        {"min_score": float("nan")},
        {"min_presence": -0.1},
    ],
)
def test_options_that_make_no_sense_are_usage_errors(wrong):
    with pytest.raises(UsageError, match="Hint"):
        ExportOptions(**wrong)


def test_no_format_at_all_is_a_usage_error():
    with pytest.raises(UsageError, match="Unknown format ''"):
        parse_formats(" , ")


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_format_takes_results_without_items(make, tmp_path, name):
    exported = get_exporter(name).export(make.results([]), tmp_path)
    assert exported.count == 0 and exported.path.exists()


def test_the_docs_tell_what_each_format_keeps_and_loses():
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `")]
    assert rows and sorted(rows) == sorted(f"`{name}`" for name in EXPORTERS)
