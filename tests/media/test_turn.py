import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from sa2va_cli.media.video import open_video

TURNS = {  # display matrix (a, b, c, d) -> what it does to a stored picture
    (1, 0, 0, 1): lambda pixels: pixels,
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (-1, 0, 0, -1): lambda pixels: np.rot90(pixels, 2),
    (0, 1, -1, 0): lambda pixels: np.rot90(pixels, -1),
    (0, -1, 1, 0): lambda pixels: np.rot90(pixels),
    (0, 1, 1, 0): lambda pixels: pixels.swapaxes(0, 1),
    (0, -1, -1, 0): lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
}


@pytest.fixture(scope="module")
def fade_in(tmp_path_factory, picture):
    """The bytes of an mp4 that begins with a black frame, and the place of its display matrix."""
    path = tmp_path_factory.mktemp("fade") / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for idx in range(3):
            pixels = picture(idx, (64, 64)) if idx else np.zeros((64, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = idx, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    return data, data.index(b"tkhd") + 44


@pytest.mark.parametrize("matrix", TURNS)
def test_a_clip_that_fades_in_from_black_is_turned_and_mirrored(fade_in, tmp_path, picture, matrix):
    data, at = fade_in
    a, b, c, d = (one << 16 for one in matrix)
    stored = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "turned.mp4").write_bytes(data[:at] + stored + data[at + len(stored) :])
    with open_video(str(tmp_path / "turned.mp4")) as video:
        frames = list(video)
    expected = TURNS[matrix](picture(2, (64, 64)))
    assert np.abs(frames[2].pixels.astype(int) - expected).mean() < 4
    assert video.notes == ()


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(1, 0), (3, 2), (6, -1), (8, 1)],
)
def test_motion_jpeg_with_exif_is_turned(tmp_path, picture, orientation, turn):
    """PyAV cannot list what comes with its frames."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with av.open(str(tmp_path / "exif.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25, options={"strict": "unofficial"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for idx in range(3):
            jpeg = io.BytesIO()
            Image.fromarray(picture(idx)).save(jpeg, "JPEG", quality=95, exif=exif)
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = idx
            container.mux(packet)
    with open_video(str(tmp_path / "exif.mkv")) as video:
        frames = list(video)
    assert np.abs(frames[2].pixels.astype(int) - np.rot90(picture(2), turn)).mean() < 4
    assert video.notes == ()
