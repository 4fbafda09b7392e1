import contextlib
import struct
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from sa2va_cli.errors import MediaError
from sa2va_cli.media.image import load_image

ODD = Path(__file__).parents[1] / "data" / "odd"


def load(path):
    return load_image(str(path))


def corners(pixels):
    """The colours of the four corners as letters, clockwise from the top left."""
    letters = {(True, False, False): "r", (False, True, False): "g", (False, False, True): "b"}
    h, w, _ = pixels.shape
    points = [(2, 2), (2, w - 3), (h - 3, w - 3), (h - 3, 2)]
    return "".join(letters.get(tuple((pixels[p] > 127).tolist()), "w") for p in points)


def four_corners():
    """24 x 16: red, green, blue, white clockwise from the top left."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :12, 0] = pixels[:8, 12:, 1] = pixels[8:, 12:, 2] = 255
    pixels[8:, :12] = 255
    return pixels


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize(
    ("orientation", "expected", "size"),
    [
        (1, "rgbw", (16, 24)),
        (2, "grwb", (16, 24)),
        (3, "bwrg", (16, 24)),
        (4, "wbgr", (16, 24)),
        (5, "rwbg", (24, 16)),
        (6, "wrgb", (24, 16)),
        (7, "bgrw", (24, 16)),
        (8, "gbwr", (24, 16)),
    ],
)
def test_pictures_come_upright(tmp_path, suffix, orientation, expected, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(four_corners()).save(path, exif=exif, quality=95)
    pixels = load(path).pixels
    assert (corners(pixels), pixels.shape[:2], pixels.dtype) == (expected, size, np.uint8)


def test_photos_with_different_orientations_of_one_person_are_alike():
    upright = load(ODD / "hopper_orientation_2.jpg").pixels.astype(int)
    for orientation in (3, 6, 8):
        other = load(ODD / f"hopper_orientation_{orientation}.jpg").pixels.astype(int)
        assert np.abs(upright - other).mean() < 4


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {"progressive": True, "quality": 95}),
        ("a.png", {}),
        ("a.webp", {"lossless": True}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("a.bmp", {}),
        ("a.ppm", {}),
        ("a.jp2", {"quality_layers": [0], "irreversible": False}),
        ("a.avif", {"quality": 95}),
        ("a.gif", {}),
    ],
)
def test_every_format_gives_its_pixels(tmp_path, name, options):
    Image.fromarray(four_corners()).save(tmp_path / name, **options)
    loaded = load(tmp_path / name)
    assert (corners(loaded.pixels), loaded.pixels.shape, loaded.notes) == ("rgbw", (16, 24, 3), ())


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGBX"])
def test_every_colour_mode_becomes_rgb(tmp_path, mode):
    Image.fromarray(four_corners()).convert(mode).save(tmp_path / "a.tiff")
    loaded = load(tmp_path / "a.tiff")
    assert loaded.pixels.shape == (16, 24, 3)
    if mode not in ("1", "L"):
        assert corners(loaded.pixels) == "rgbw"


def test_adobe_cmyk_is_not_inverted():
    pixels = load(ODD / "pil_sample_cmyk.jpg").pixels
    assert pixels[2, 5].tolist() == pytest.approx([255, 30, 30], abs=40)  # the red bar
    assert pixels[60, 2].max() < 20  # on black


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_parts_lie_on_white(tmp_path, mode):
    image = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    image.paste((80, 80, 80, 255), (0, 0, 2, 2))
    suffix = "tiff" if mode == "PA" else "png"
    image.convert(mode).save(tmp_path / f"a.{suffix}")
    loaded = load(tmp_path / f"a.{suffix}")
    assert loaded.pixels[0, :, 0].tolist() == [80, 80, 255, 255]
    assert loaded.notes == ("transparent parts laid on white",)


def test_an_alpha_channel_that_hides_nothing_is_not_worth_a_word(tmp_path):
    Image.new("RGBA", (2, 2), (1, 2, 3, 255)).save(tmp_path / "a.png")
    assert load(tmp_path / "a.png").notes == ()


@pytest.mark.parametrize("name", ["p_trns_single.png", "1_trns.png", "transparent.webp"])
def test_transparency_in_palettes_and_colour_keys_counts(name):
    assert load(ODD / name).notes == ("transparent parts laid on white",)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_is_scaled(tmp_path, suffix):
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    loaded = load(tmp_path / f"a.{suffix}")
    assert loaded.pixels[0, :, 1].tolist() == [0, 1, 128, 255]
    assert loaded.notes == ("16-bit grey values scaled from 0..65535 to 8 bits",)


def write_grey_tiff(path, values, photometric):
    """A (H, W) picture as a TIFF of one strip, in the byte order of its values."""
    big, (height, width) = values.dtype.byteorder == ">", values.shape
    tags = [(256, width), (257, height), (258, 8 * values.itemsize), (259, 1), (262, photometric)]
    tags += [(273, 8 + 2 + 12 * 10 + 4), (277, 1), (278, height), (279, values.nbytes)]
    tags += [(339, 3 if values.dtype.kind == "f" else 1)]
    order = ">" if big else "<"
    start = (b"MM" if big else b"II") + struct.pack(f"{order}HIH", 42, 8, len(tags))
    table = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(start + table + bytes(4) + values.tobytes())


@pytest.mark.parametrize(("dtype", "photometric"), [("<u2", 1), (">u2", 1), ("<u2", 0)])
def test_sixteen_bit_tiffs_of_both_byte_orders_and_polarities_are_alike(
    tmp_path, dtype, photometric
):
    values = np.array([[257, 32896, 51400]])
    stored = values if photometric else 65535 - values
    write_grey_tiff(tmp_path / "a.tiff", stored.astype(dtype), photometric)
    loaded = load(tmp_path / "a.tiff")
    assert loaded.pixels[0, :, 1].tolist() == [1, 128, 200]
    assert loaded.notes == ("16-bit grey values scaled from 0..65535 to 8 bits",)


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f4"])
def test_tiffs_whose_lowest_value_is_white_are_inverted_at_every_depth(tmp_path, dtype):
    write_grey_tiff(tmp_path / "a.tiff", np.array([[0, 1]], dtype), 0)
    assert load(tmp_path / "a.tiff").pixels[0, :, 0].tolist() == pytest.approx(
        [255, 254 if dtype == "u1" else 0]
    )


def test_sixteen_bit_colour_is_scaled(tmp_path):
    import cv2

    values = np.full((2, 2, 3), (65535, 32896, 512), np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    assert load(tmp_path / "a.png").pixels[0, 0].tolist() == [2, 128, 255]
    assert load(ODD / "tiff_16bit_RGB.tiff").pixels.std() > 10


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255], "grey values scaled from 0..1 to 8 bits"),
        ([-100.0, 0.0, 100.0], [0, 128, 255], "grey values scaled from -100..100 to 8 bits"),
        ([np.nan, 3.0, 6.0], [0, 128, 255], "grey values scaled from 0..6 to 8 bits"),
        ([7.0, 7.0, 7.0], [0, 0, 0], "grey values scaled from 7..7 to 8 bits"),
    ],
)
def test_float_pictures_are_scaled(tmp_path, values, expected, note):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tiff")
    loaded = load(tmp_path / "a.tiff")
    assert loaded.pixels[0, :, 0].tolist() == pytest.approx(expected, abs=1)
    assert loaded.notes == (note,)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_the_first_of_several_frames_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "lime", "blue")]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    loaded = load(path)
    assert loaded.pixels[0, 0].tolist() == [255, 0, 0] or suffix == "webp"
    assert loaded.notes == (f"first of 3 {'pages' if suffix == 'tiff' else 'frames'}",)


def test_the_preview_behind_a_phone_photo_is_not_worth_a_word(tmp_path):
    photo = Image.new("RGB", (8, 8), "red")
    photo.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[photo])
    assert load(tmp_path / "a.jpg").notes == ()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("truncated_jpeg.jpg", "is truncated"),
        ("broken.png", "is damaged"),
        ("broken_data_stream.png", "is damaged"),
        ("png_decompression_dos.png", "is damaged: Decompressed data too large"),
        ("decompression_bomb.gif", "has too many pixels"),
        ("reallybig.bmp", "has 3000000 x 2000000 pixels, more than the limit"),
        ("zero_width.gif", "is damaged"),
        ("video_audio_only.mp4", "it is a video"),
        ("missing.png", "cannot be read: No such file or directory"),
        ("", "cannot be read: Is a directory"),
    ],
)
def test_broken_files_say_what_is_wrong(name, complaint):
    with pytest.raises(MediaError, match=complaint):
        load(ODD / name)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "bmp", "gif", "avif", "jp2"])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.97])
def test_a_file_cut_anywhere_is_an_error_and_nothing_else(tmp_path, suffix, keep):
    whole, cut = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(whole)
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(MediaError, match=r"truncated|damaged|no picture"):
        load(cut)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "bmp", "gif", "avif", "jp2"])
def test_garbage_inside_a_file_never_escapes_as_another_error(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    for _ in range(100):
        spoilt = data.copy()
        for at in rng.integers(12, len(data), 8):
            spoilt[at] = rng.integers(256)
        path.write_bytes(spoilt)
        with contextlib.suppress(MediaError):
            assert load_image(str(path), max_pixels=10**6).pixels.shape[2] == 3


def test_the_pixel_limit_can_be_set(make_image):
    path = make_image("a.png", size=(30, 20))
    assert load_image(str(path), max_pixels=600).pixels.shape == (20, 30, 3)
    with pytest.raises(MediaError, match="30 x 20 pixels, more than the limit of 599"):
        load_image(str(path), max_pixels=599)


@pytest.mark.parametrize("suffix", ["tiff", "png", "jpg"])
def test_no_other_limit_counts(make_image, monkeypatch, suffix):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow refuses twice as much
    path = make_image(f"a.{suffix}", size=(30, 20))
    assert load_image(str(path)).pixels.shape == (20, 30, 3)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_lack_of_memory_is_not_the_pictures_fault(make_image, monkeypatch):
    def no_room(*_):
        raise MemoryError

    path = make_image("a.png", size=(30, 20))
    monkeypatch.setattr(ImageFile.ImageFile, "load", no_room)
    with pytest.raises(MemoryError):
        load_image(str(path))


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "is a HEIC picture"),
        (b"\xff\x0a\xfa\x1f", "is a JXL picture"),
        (b"hello, text", "it is named .jpg, but holds text"),
        (b"", "it is empty"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, head, complaint):
    (tmp_path / "a.jpg").write_bytes(head)
    with pytest.raises(MediaError, match=complaint):
        load(tmp_path / "a.jpg")


def test_broken_exif_is_taken_as_upright(tmp_path):
    Image.fromarray(four_corners()).save(
        tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12", quality=95
    )
    assert corners(load(tmp_path / "a.jpg").pixels) == "rgbw"


def test_threads_that_load_odd_pictures_leave_the_warning_filters_as_they_were():
    before = list(warnings.filters)
    names = ["multiple_exif.jpg", "i_trns.png", "tiff_16bit_RGB.tiff"] * 10
    threads = [threading.Thread(target=load, args=[ODD / name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
