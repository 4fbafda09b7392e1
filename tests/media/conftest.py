from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_image(tmp_path):
    """Write a small picture below tmp_path; the suffix says the format."""

    def make(name, size=(8, 6), color=(200, 30, 40), **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, color).save(path, **options)
        return path

    return make


@pytest.fixture(scope="session")
def make_video(tmp_path_factory):
    """Write a video whose frame i has the red level 8 * i and a white top left corner."""
    folder = tmp_path_factory.mktemp("videos")

    def make(name, codec="libx264", times=None, rotation=None, size=(96, 64), num_frames=30, **o):
        path = folder / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, options=o)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            if rotation is not None:
                stream.set_display_rotation(rotation)
            for idx in range(num_frames):
                frame = av.VideoFrame.from_ndarray(draw(idx, size), format="rgb24")
                frame.pts = times[idx] if times else idx * 40
                frame.time_base = Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


def draw(idx, size=(96, 64)):
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:] = (idx * 8 % 256, 90, 90)
    pixels[: size[1] // 4, : size[0] // 4] = 255
    return pixels


@pytest.fixture(scope="session")
def picture():
    """The pixels of frame idx of `make_video`, as they were before encoding."""
    return draw
