"""Long videos through the real command and the demo model: bounded memory, killed and resumed."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest

from sa2va_cli.demo.motion import make_clip
from sa2va_cli.demo.video_memory import measure
from sa2va_cli.jobs.reader import StoreReader
from tests.jobs.runs import wait_for

MINUTES, FPS = 20, 2


def write_long_video(path: Path) -> None:
    """Twenty minutes of the demo world, two frames a second: a clip, to and fro."""
    clip = make_clip(2**40 + 7, 40)
    frames = np.concatenate((clip.frames, clip.frames[::-1]))
    height, width = (side // 2 * 2 for side in frames.shape[1:3])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(MINUTES * 60 * FPS):
            pixels = np.ascontiguousarray(frames[number % len(frames)][:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def command(video: Path, out: Path, devices: str = "cpu") -> list[str]:
    """240 frames in windows of 60."""
    return [
        sys.executable, "-m", "sa2va_cli.cli", "annotate", str(video), "-o", str(out),
        "--model", "demo", "-d", devices, "-p", "every shape", "-p", "the red circle",
        "--fps", "0.2", "--window", "60", "-f", "answers,youtube-vis", "--quiet",
    ]  # fmt: skip


def checkpoint(out: Path) -> int:
    if not (out / "job.sqlite").exists():
        return 0
    with closing(sqlite3.connect(out / "job.sqlite")) as connection:
        try:
            row = connection.execute("SELECT frame_idx FROM checkpoints").fetchone()
        except sqlite3.OperationalError:  # the tables are just being made
            return 0
    return row[0] if row else 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_minutes_killed_midway_and_resumed_are_as_if_never_killed(tmp_path):
    write_long_video(tmp_path / "long.mp4")
    out = tmp_path / "killed"
    run = subprocess.Popen(command(tmp_path / "long.mp4", out))
    middle = MINUTES * 60 * FPS // 3
    wait_for(lambda: checkpoint(out) > middle or run.poll() is not None, seconds=1500)
    run.send_signal(signal.SIGKILL)
    run.wait()
    reached = checkpoint(out)
    assert reached > middle, "it was killed before it was done"
    for folder, devices in ((out, "cpu:2"), (tmp_path / "whole", "cpu")):
        again = command(tmp_path / "long.mp4", folder, devices)
        assert subprocess.run(again, check=False).returncode == 0
    for name in ("answers.jsonl", "youtube_vis.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with StoreReader(out) as reader:
        (video,) = reader.items()
        assert video.num_frames == 240
        assert len({window.window for window in video.windows}) == 5
        assert {mask.frame_idx for mask in reader.masks(video.item_id)} == set(range(0, 2400, 10))


def test_memory_is_that_of_a_video_a_quarter_as_long(tmp_path):
    """A frame and its masks at 256 x 256 take 0.3 MB: 240 frames that were held would show.

    They would show every time; on a busy machine, workers far ahead of the writer do at times.
    """
    short = measure(80, ("--window", "30"), tmp_path)
    assert any(measure(320, ("--window", "30"), tmp_path).peak - short.peak < 60 for _ in range(3))
