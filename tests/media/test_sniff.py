import pytest

from sa2va_cli.media.sniff import image_format, media_kind


@pytest.mark.parametrize(
    "head",
    [
        b"BMW is a car maker from Bavaria",
        b"P1 is the first entry",
        b"All free lunches",
        b"GIF is a file format",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"The mdat atom holds pictures and sound",
        b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00M4A mp42",
        b"OggS\x00\x02vorbis",
        b"%PDF-1.7",
        b"G" + bytes(187) + b"G",
        b"",
    ],
)
def test_words_and_sounds_are_no_media(head):
    assert media_kind(head) is None


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"P6\n# made by hand\n2 2\n255\n", "PPM"),
        (b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1", "AVIF"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00avif", "AVIF"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC"),
        (b"\xff\x0a\xfa\x1f", "JXL"),
        (b"II+\x00\x08\x00", "TIFF"),
    ],
)
def test_rare_pictures_are_known(head, expected):
    assert image_format(head) == expected
    assert media_kind(head) == "image"


def test_transport_streams_have_a_sync_byte_in_each_packet():
    packet = b"G" + bytes(187)
    assert media_kind(packet * 3) == "video"
    assert media_kind((bytes(4) + packet) * 3) == "video"
    assert media_kind(b"Gulliver" * 50) is None


@pytest.mark.parametrize("start_code", [b"\0\0\1", b"\0\0\0\1"])
@pytest.mark.parametrize("unit", ["67", "27", "47", "09", "40 01", "46 01"])
def test_bare_streams_begin_with_parameters_or_a_delimiter(start_code, unit):
    assert media_kind(start_code + bytes.fromhex(unit) + b"\x10\0") == "video"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\0\0\1\xba\x44", "video"),  # MPEG program stream
        (b"\0\0\1\xb3\x06", "video"),  # MPEG-1 and 2
        (b"\0\0\1\xb0\x01", None),  # MPEG-4 part 2, bare
        (b"\0\0\1\xe0\x07", None),  # one packet of a program stream
        (b"\0\0\1\0\1\0\x10\x10", None),  # icon
        (b"\0\0\0\1Bud1", None),  # .DS_Store
        (b"\0\1\0\0\0\x0e", None),  # TrueType
        (b"\0\0\0\1\x40\x02", None),
    ],
)
def test_other_files_that_begin_like_a_bare_stream_are_told_apart(head, expected):
    assert media_kind(head) == expected


@pytest.mark.parametrize("size", [b"\x00\x10\x00\x00", b"\x03\x20\x11\x22", b"\xff\xff\xff\xff"])
def test_pictures_and_sound_may_come_first_in_any_length(size):
    assert media_kind(size + b"mdat" + b"\x00\x00\x00\x02\x09\xf0") == "video"
