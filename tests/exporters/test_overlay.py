import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.exporters.drawing import FILL, Drawn, draw_overlay
from sa2va_cli.exporters.labels import LabelStyle, wrap
from sa2va_cli.exporters.palette import object_colour, text_colour

SHAPE = (120, 160)


def overlay(folder, item_id):
    return np.asarray(Image.open(folder / "overlays" / f"{item_id}.overlay.png"))


def test_every_image_gets_an_overlay_in_its_own_size(photos, tmp_path):
    (exported,) = export_results(photos, ["overlay"], tmp_path / "out")
    assert (exported.count, exported.notes) == (4, ())
    for name in ("a.jpg", "a.png", "b/a.jpg", "no objects.jpg"):
        assert overlay(tmp_path / "out", name).shape == (*SHAPE, 3)


def test_masks_are_tinted_in_the_objects_colour_and_the_rest_stays(make):
    pixels = np.full((200, 300, 3), 90, np.uint8)
    drawn = draw_overlay(pixels, [Drawn(2, make.box((200, 300), 60, 80, 100, 100), "car")])
    toward = np.sign(np.array(object_colour(2)) - 90.0)
    np.testing.assert_array_equal(np.sign(drawn[150, 120].astype(int) - 90), toward)
    np.testing.assert_array_equal(drawn[190, 250], pixels[190, 250])


def test_every_shade_is_tinted_as_it_would_be_in_floating_point(make):
    pixels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(256, 0).repeat(3, 2)
    drawn = draw_overlay(pixels, [Drawn(1, np.ones((256, 256), bool), "")], labelled=False)
    expected = (pixels * (1 - FILL) + np.array(object_colour(1)) * FILL).astype(np.uint8)
    inner = (slice(8, -8), slice(8, -8))  # the outline runs around it
    np.testing.assert_array_equal(drawn[inner], expected[inner])


def test_a_large_overlay_takes_a_few_times_the_memory_of_its_picture(make):
    pixels = np.zeros((1500, 2000, 3), np.uint8)
    everything = [Drawn(1, np.ones((1500, 2000), bool), "car", "0.90")]
    tracemalloc.start()
    try:
        draw_overlay(pixels, everything)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * pixels.nbytes


def test_a_mask_that_is_filtered_out_is_not_drawn(photos, tmp_path):
    options = ExportOptions(min_score=0.99)
    export_results(photos, ["overlay"], tmp_path / "out", options)
    before = np.asarray(Image.open(tmp_path / "photos" / "b" / "a.jpg"))
    np.testing.assert_array_equal(overlay(tmp_path / "out", "b/a.jpg")[:60], before[:60])


def test_a_picture_that_is_gone_or_changed_is_told_and_the_others_are_drawn(photos, tmp_path):
    (tmp_path / "photos" / "a.jpg").unlink()
    Image.new("RGB", (10, 10)).save(tmp_path / "photos" / "a.png")
    (exported,) = export_results(photos, ["overlay"], tmp_path / "out")
    assert exported.count == 2
    assert any("a.jpg" in note for note in exported.notes)
    assert any("is 10 x 10 now and was 160 x 120" in note for note in exported.notes)


def test_the_number_of_threads_does_not_change_a_byte(photos, tmp_path):
    for workers in (1, 4):
        export_results(photos, ["overlay"], tmp_path / str(workers), ExportOptions(workers=workers))
    for path in (tmp_path / "1").rglob("*.png"):
        other = tmp_path / "4" / path.relative_to(tmp_path / "1")
        assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "日本語 🚀",
        "new\nline",
        "\udcff",
        "<b>x</b>",
        "x" * 5000,
        "עברית",
        "a" + "\u0301" * 50,
    ],
)
def test_any_text_can_be_drawn(make, text):
    pixels = np.zeros((*SHAPE, 3), np.uint8)
    drawn = draw_overlay(pixels, [Drawn(1, make.box(SHAPE, 60, 60, 30, 30), text, "0.50")], [text])
    assert drawn.shape == pixels.shape and drawn.any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (47, 47), (48, 48), (2000, 60)])
def test_pictures_of_any_shape_can_be_drawn_on(make, shape):
    objects = [Drawn(number, np.ones(shape, bool), "a label", "1.00") for number in (1, 2, 3)]
    assert draw_overlay(np.zeros((*shape, 3), np.uint8), objects, ["note"]).shape == (*shape, 3)


def label_style():
    style = LabelStyle.for_picture(400, 600, 1)
    assert style is not None
    return style


def test_long_labels_are_wrapped_elided_and_keep_their_score():
    lines = wrap("the woman " * 30, "0.97", label_style())
    assert len(lines) == 2 and lines[1].endswith("…  0.97")
    assert all(label_style().font.getlength(line) <= label_style().max_width for line in lines)
    assert wrap("a cat", "0.97", label_style()) == ("a cat  0.97",)


def test_a_label_whose_score_does_not_fit_any_more_is_wrapped_and_not_elided():
    style, text = label_style(), "the"
    while style.font.getlength(f"{text} x  0.97") <= style.max_width:
        text += " x"
    assert "…" not in "".join(wrap(f"{text} x", "0.97", style))


def test_letters_of_other_scripts_are_drawn_with_a_font_that_has_them():
    style = label_style().that_draws("Жλ")
    if style.font.path == label_style().font.path:
        pytest.skip("this machine has no font for it: they are drawn as boxes")
    assert style.font.size == label_style().font.size
    drawn = [bytes(style.font.getmask(letter)) for letter in "Жλ"]
    assert drawn[0] != drawn[1]  # boxes would be alike


def labels_of(pixels, colour):
    return (pixels == np.array(colour)).all(axis=-1)


def test_labels_of_neighbours_do_not_cover_each_other(make):
    shape = (300, 400)
    masks = [make.box(shape, 40 + 14 * n, 100, 60, 60) for n in range(4)]
    alone = [
        labels_of(
            draw_overlay(np.zeros((*shape, 3), np.uint8), [Drawn(n + 1, mask, "car", "0.90")]),
            object_colour(n + 1),
        ).sum()
        for n, mask in enumerate(masks)
    ]
    objects = [Drawn(n + 1, mask, "car", "0.90") for n, mask in enumerate(masks)]
    together = draw_overlay(np.zeros((*shape, 3), np.uint8), objects)
    for number, size in enumerate(alone):
        label_pixels = labels_of(together, object_colour(number + 1)).sum()
        assert label_pixels > 0.5 * size  # outlines cross, labels stay whole


def test_colours_are_stable_and_differ():
    colours = [object_colour(number) for number in range(1, 40)]
    assert len(set(colours)) == 39
    assert object_colour(1) == (255, 82, 82)
    assert text_colour((255, 214, 10)) == (16, 16, 16)
    assert text_colour((20, 20, 120)) == (255, 255, 255)


def test_masks_lie_on_the_picture_as_people_see_it(make, tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, seen standing
    Image.new("RGB", (160, 120), (90, 90, 90)).save(path, exif=exif)
    item, _ = make.image_results()[1]
    standing = replace(item, path=str(path), height=160, width=120)
    results = make.results([(standing, [make.seen(1, make.box((160, 120), 10, 90, 80, 60))])])
    (exported,) = export_results(results, ["overlay"], tmp_path)
    assert exported.count == 1 and overlay(tmp_path, "a.jpg").shape == (160, 120, 3)


def test_hostile_names_stay_in_the_folder(photos, tmp_path):
    results = [
        (replace(item, item_id=name), masks)
        for name, (item, masks) in zip(["../up.jpg", "x\n.jpg"], photos.results, strict=False)
    ]
    export_results(replace(photos, results=results), ["overlay"], tmp_path / "out")
    written = [path for path in tmp_path.rglob("*.overlay.png") if path.is_file()]
    assert len(written) == 2
    assert all(path.is_relative_to(Path(tmp_path / "out" / "overlays")) for path in written)
