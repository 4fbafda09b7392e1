import subprocess
import sys

import pytest

from sa2va_cli.media.video import open_video


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("bare.h264", "libx264", {}),
        ("bare.hevc", "libx265", {"x265-params": "log-level=none"}),
        ("bare.mjpeg", "mjpeg", {"strict": "unofficial"}),
        ("bare.ivf", "libvpx-vp9", {"lossless": "1"}),
        ("h264.ts", "libx264", {}),
    ],
)
def test_what_decord_cannot_read_is_read_without_a_word(make_video, name, codec, options):
    with open_video(str(make_video(name, codec, **options))) as video:
        assert [frame.frame_idx for frame in video] == list(range(30))
    assert video.notes == ()


def test_an_error_of_the_decoder_ends_it_with_a_status():
    command = [sys.executable, "-m", "sa2va_cli.media.decoder", "no request"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as decoder:
        assert b"JSONDecodeError" in decoder.stderr.read()
        assert decoder.wait() == 1
