"""The script behind the README's pictures makes all that the documents show, and links nothing."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


def shown():
    texts = [path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    return {name for text in texts for name in re.findall(r"images/([\w.-]+)\)", text)}


def test_every_picture_is_shown_and_small():
    assert {path.name for path in IMAGES.iterdir()} == shown()
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < 600_000


def test_the_terminal_is_a_drawing_that_fetches_nothing():
    text = (IMAGES / "terminal.svg").read_text()
    assert "annotate" in text and "left" in text
    assert set(re.findall(r"https?://[^\s\"']+", text)) <= {
        "http://www.w3.org/2000/svg",
        "https://www.textualize.io",  # a remark of rich's, who drew it
    }


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(shutil.which, ("chromium", "chromedriver", "tmux"))),
    reason="needs chromium, chromedriver and tmux: apt-get install chromium chromium-driver tmux",
)
def test_the_pictures_can_be_made_anew(tmp_path):
    from sa2va_cli.demo.draw import draw_folder

    draw_folder(tmp_path / "input", images=12, videos=1)
    job = ["--manifest", tmp_path / "input/manifest.jsonl", "-o", tmp_path / "job"]
    formats = ["-m", "demo", "-d", "cpu:2", "-f", "coco,overlay"]
    annotate = [sys.executable, "-m", "sa2va_cli.cli", "annotate", *job, *formats]
    pictures = [sys.executable, "-m", "docs.pictures", tmp_path, "--out", tmp_path / "images"]
    for command in (annotate, pictures):
        subprocess.run([str(word) for word in command], cwd=ROOT, check=True)
    assert {path.name for path in (tmp_path / "images").iterdir()} == shown()
