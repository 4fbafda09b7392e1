"""`sa2va annotate` keeps the model busy: its speed beside that of the bare engine. Minutes."""

import os
import sqlite3
import subprocess
import sys
import time

import pytest
from PIL import Image

from sa2va_cli.demo.scenes import HELD_OUT_SEED, make_scene
from sa2va_cli.jobs.schema import store_path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
IMAGES = int(os.environ.get("SA2VA_SPEED_IMAGES", "500"))
FIRST = HELD_OUT_SEED + 4 * 10**6
PROMPT = "the red circle"
WARM_UP = 10
BARE = f"""
import sys, time
from pathlib import Path
import numpy as np
from PIL import Image
from sa2va_cli import Sa2VA
from sa2va_cli.config import Prompt
from sa2va_cli.tasks import get_task
model = Sa2VA.from_pretrained("demo", device="cpu")
question = get_task("segment").question(Prompt("x", "{PROMPT}"), "image")
pictures = [np.asarray(Image.open(p)) for p in sorted(Path(sys.argv[1]).iterdir())]
for picture in pictures[:{WARM_UP}]:
    model.answer_image(picture, [question])
started = time.perf_counter()
for picture in pictures[{WARM_UP}:]:
    model.answer_image(picture, [question])
print((len(pictures) - {WARM_UP}) / (time.perf_counter() - started))
"""


def bare_rate(folder):
    """Images a second, decoded before, nothing stored, in a process of its own."""
    command = [sys.executable, "-c", BARE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def annotate(folder, out):
    """Images a second while it runs, and of the whole command."""
    command = [sys.executable, "-m", "sa2va_cli.cli", "annotate", str(folder), "-p", PROMPT]
    command += ["-m", "demo", "--devices", "cpu", "-q", "-o", str(out)]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    whole = IMAGES / (time.perf_counter() - started)
    with sqlite3.connect(store_path(out)) as store:
        ends = sorted(end for (end,) in store.execute("SELECT started + seconds FROM attempts"))
    store.close()
    return (len(ends) - WARM_UP) / (ends[-1] - ends[WARM_UP - 1]), whole


def test_annotate_is_nearly_as_fast_as_the_bare_engine(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(IMAGES):
        Image.fromarray(make_scene(FIRST + index).image).save(folder / f"{index:04d}.png")
    before = bare_rate(folder)
    running, whole = annotate(folder, tmp_path / "out")
    after = bare_rate(folder)
    bare = (before + after) / 2
    with capsys.disabled():
        print(
            f"\n{IMAGES} images: bare engine {before:.2f} and {after:.2f} a second, annotate "
            f"{running:.2f} ({running / bare:.2f} of it), whole command {whole:.2f} "
            f"({whole / bare:.2f})"
        )
    assert running >= 0.8 * bare
