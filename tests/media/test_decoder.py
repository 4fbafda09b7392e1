import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import av
import numpy as np
import psutil
import pytest

from sa2va_cli.media.frames import ALL_FRAMES, Request
from sa2va_cli.media.video import open_video

STOPPED_WHILE_IT_WAITS = """
import sys
from sa2va_cli.media.video import open_video
with open_video(sys.argv[1]) as video:
    video._waiting._timeout = 4  # seconds, now that it has started
    frames = iter(video)
    next(frames)
    print("first", flush=True)
    sys.stdin.readline()
    print(len(list(frames)), video.notes)
"""


def write_with_sound(path, seconds_of_sound):
    """A Matroska file of one second of pictures, and of sound that may go on after them."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        if seconds_of_sound:
            sound = container.add_stream("pcm_s16le", rate=48000, layout="stereo")
        pictures = container.add_stream("mjpeg", rate=25, options={"strict": "unofficial"})
        pictures.width, pictures.height, pictures.pix_fmt = 320, 240, "yuvj420p"
        for _ in range(25):
            noise = rng.integers(0, 255, (240, 320, 3), np.uint8)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(pictures.encode())
        for _ in range(seconds_of_sound * 10):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 9600), np.int16), format="s16", layout="stereo"
            )
            silence.sample_rate = 48000
            container.mux(sound.encode(silence))


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


def feed_slowly(source, fifo):
    """What a file on a slow drive is like: half of it at once, the rest in parts over 3 s."""
    data = source.read_bytes()
    half, part = len(data) // 2, len(data) // 30
    with contextlib.suppress(BrokenPipeError), fifo.open("wb", buffering=0) as file:
        file.write(data[:half])
        for at in range(half, len(data), part):
            time.sleep(0.2)
            file.write(data[at : at + part])


@pytest.mark.parametrize("seconds_of_sound", [0, 60])
def test_a_file_that_is_read_slowly_gives_signs_of_life(tmp_path, seconds_of_sound):
    source, fifo = tmp_path / "whole.mkv", tmp_path / "slow.mkv"
    write_with_sound(source, seconds_of_sound)
    os.mkfifo(fifo)
    request = Request(str(fifo), ALL_FRAMES, use_decord=False)
    command = [sys.executable, "-m", "sa2va_cli.media.decoder", request.to_json()]
    feeder = threading.Thread(target=feed_slowly, args=[source, fifo])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as decoder:
        feeder.start()
        feeder.join()
        threading.Timer(5, decoder.kill).start()  # it opens the file anew, and nobody feeds it
        messages = [json.loads(line) for line in decoder.stdout]
    assert len(messages) >= 3
    assert {message["kind"] for message in messages} == {"alive"}


def test_the_last_pictures_come_also_where_sound_is_the_first_stream(tmp_path, picture):
    """H.264 keeps its last frames back until it is told that there are no more."""
    with av.open(str(tmp_path / "a.ts"), "w") as container:
        sound = container.add_stream("mp2", rate=48000)
        pictures = container.add_stream("libx264", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 96, 64, "yuv420p"
        for idx in range(30):
            frame = av.VideoFrame.from_ndarray(picture(idx), format="rgb24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1152 * 2), np.int16), "s16", "stereo")
        silence.sample_rate = 48000
        container.mux([*sound.encode(silence), *sound.encode()])
    with open_video(str(tmp_path / "a.ts")) as video:
        assert len(list(video)) == 30
    assert video.notes == ()


def test_time_that_the_reader_was_stopped_for_is_not_held_against_the_decoder(make_video):
    command = [sys.executable, "-c", STOPPED_WHILE_IT_WAITS]
    command.append(str(make_video("large.mp4", size=(640, 480))))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout.readline() == b"first\n"
        (decoder,) = psutil.Process(reader.pid).children()
        decoder.send_signal(signal.SIGSTOP)
        reader.stdin.write(b"\n")
        reader.stdin.flush()
        time.sleep(1)
        reader.send_signal(signal.SIGSTOP)
        time.sleep(4)
        reader.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        decoder.send_signal(signal.SIGCONT)
        assert reader.stdout.read() == b"29 ()\n"
