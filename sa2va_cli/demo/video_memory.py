"""Peak memory of `sa2va annotate --model demo` over videos of one size and different lengths.

python -m sa2va_cli.demo.video_memory --frames 100 1000 5000

The memory is that of all processes of the run together, each page counted once (PSS; Linux only).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from sa2va_cli.demo.motion import make_clip
from sa2va_cli.demo.phrases import full_name
from sa2va_cli.demo.scenes import HELD_OUT_SEED
from sa2va_cli.demo.script import run_script

SECONDS = 1.0  # between two looks at the memory
LOOP = 48  # frames of the clip that is shown to and fro
PROMPTS = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. Memory in MB of 2^20 bytes."""

    frames: int
    peak: float
    seconds: float


def write_video(path: Path, num_frames: int) -> list[str]:
    """A clip of the demo world, to and fro, and what is in it."""
    clip = make_clip(HELD_OUT_SEED, LOOP)
    height, width = (side // 2 * 2 for side in clip.frames.shape[1:3])
    there_and_back = np.concatenate((clip.frames, clip.frames[-2:0:-1]))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(num_frames):
            pixels = there_and_back[number % len(there_and_back)][:height, :width]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return [f"the {full_name(clip.facts.words[index])}" for index in range(PROMPTS)]


def measure(num_frames: int, options: Sequence[str], folder: Path) -> Measured:
    """Run the command line on a video. Raises CalledProcessError if it fails."""
    video, job = folder / f"{num_frames}.mp4", folder / f"job-{num_frames}"
    prompts = [word for prompt in write_video(video, num_frames) for word in ("-p", prompt)]
    command = [sys.executable, "-m", "sa2va_cli.cli", "annotate", str(video), "-o", str(job)]
    command += ["--model", "demo", "--devices", "cpu", "--quiet", *prompts, *options]
    started = time.monotonic()
    process = subprocess.Popen(command)
    samples = []
    while process.poll() is None:
        samples.append(sum(_pss(pid) for pid in _tree(process.pid)))
        time.sleep(SECONDS)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Measured(num_frames, max(samples) / 2**20, time.monotonic() - started)


def _tree(pid: int) -> Iterator[int]:
    """A process and all that came of it."""
    yield pid
    for thread in _read(Path(f"/proc/{pid}/task"), "*/children"):
        for child in thread.split():
            yield from _tree(int(child))


def _pss(pid: int) -> int:
    """Bytes in memory, pages that several share divided among them; 0 when it is gone."""
    for text in _read(Path(f"/proc/{pid}"), "smaps_rollup"):
        for line in text.splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _read(folder: Path, pattern: str) -> list[str]:
    texts = []
    for path in folder.glob(pattern):
        try:
            texts.append(path.read_text())
        except OSError:  # it has just ended
            continue
    return texts


def table(measured: Sequence[Measured]) -> str:
    lines = ["| frames | peak MB | seconds |", "|---|---|---|"]
    lines += [f"| {one.frames} | {one.peak:.0f} | {one.seconds:.0f} |" for one in measured]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("options", nargs="*", help="for sa2va annotate, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = []
        for num_frames in options.frames:
            measured.append(measure(num_frames, options.options, Path(folder)))
            sys.stderr.write(f"{measured[-1]}\n")
    sys.stdout.write(table(measured))


if __name__ == "__main__":
    run_script(main)
