"""Makes the pictures of the README from what `make demo` left: real output, nothing drawn by hand.

    make pictures

Needs chromium, chromedriver and tmux (apt-get install chromium chromium-driver tmux) and selenium.
"""

import argparse
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text
from selenium import webdriver

from sa2va_cli.masks import decode_rle

ROOT = Path(__file__).parents[1]
COLUMNS, ROWS = 80, 16
OVERLAYS, OVERLAY_HEIGHT = 3, 320
MANY_PROMPTS = 3  # that a picture must have to be shown
QUALITY = 88  # of JPEG
WINDOW = (1180, 980)


def main() -> None:
    """Parse the command line, make all three pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("demo", type=Path, help="folder of `make demo`: input/ and job/")
    parser.add_argument("--devices", default="cpu:2")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    draw_overlays(options.demo, options.out / "overlays.jpg")
    draw_terminal(options.demo, options.devices, options.out / "terminal.svg")
    draw_report(options.demo / "job", options.out)
    for path in sorted(options.out.iterdir()):
        sys.stdout.write(f"{path}: {path.stat().st_size // 1024} kB\n")


def draw_overlays(demo: Path, out: Path) -> None:
    """Pictures with several prompts, those whose worst mask is best, side by side."""
    truth = json.loads((demo / "input" / "truth.json").read_text(encoding="utf-8"))
    best = sorted(quality(demo / "job", truth), reverse=True)[:OVERLAYS]
    pictures = []
    for _, item_id in sorted(best, key=lambda pair: pair[1]):
        overlay = Image.open(demo / "job" / "overlays" / f"{item_id}.overlay.png").convert("RGB")
        width = round(overlay.width * OVERLAY_HEIGHT / overlay.height)
        pictures.append(overlay.resize((width, OVERLAY_HEIGHT), Image.Resampling.LANCZOS))
    gap = 12
    width = sum(picture.width + gap for picture in pictures) - gap
    row = Image.new("RGB", (width, OVERLAY_HEIGHT), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    row.save(out, quality=QUALITY, subsampling=0, optimize=True)


def quality(job: Path, truth: dict[str, dict[str, list]]) -> Iterator[tuple[float, str]]:
    """For each picture the lowest IoU of its prompts' masks; what is absent must stay empty."""
    coco = json.loads((job / "annotations.json").read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    for image_id, item_id in names.items():
        found = {
            one["caption"]: decode_rle(one["segmentation"])
            for one in coco["annotations"]
            if one["image_id"] == image_id
        }
        if len(truth[item_id]) < MANY_PROMPTS:
            continue
        ious = []
        for prompt, (rle,) in truth[item_id].items():
            right = decode_rle(rle)
            mask = found.get(prompt, right & False)
            union = (mask | right).sum()
            ious.append((mask & right).sum() / union if union else 1.0)
        yield min(ious), item_id


def draw_terminal(demo: Path, devices: str, out: Path) -> None:
    """The main job in a terminal of 80 columns, in the middle of its work, as SVG."""
    command = f"sa2va annotate --manifest demo/manifest.jsonl -m demo -d {devices} -o out/"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "demo").symlink_to((demo / "input").resolve())
        text = watch(command, Path(folder))
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(text), soft_wrap=True)
    svg = console.export_svg(title="sa2va")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # nothing is fetched
    svg = svg.replace("Fira Code", "ui-monospace")
    out.write_text(svg, encoding="utf-8")


def watch(command: str, folder: Path) -> str:
    """The screen when most is done and all workers are still at it, with its colours as ANSI."""
    tmux = ["tmux", "-L", f"sa2va-pictures-{os.getpid()}"]
    size = ["-x", str(COLUMNS), "-y", str(ROWS), "-c", str(folder)]
    sa2va = f'sa2va() {{ {shlex.quote(sys.executable)} -m sa2va_cli.cli "$@"; }}'
    script = f"{sa2va}; printf '$ %s\\n' {shlex.quote(command)}; {command}; sleep 600"
    environment = ["env", "-u", "NO_COLOR", "OMP_NUM_THREADS=1", f"PYTHONPATH={ROOT}"]
    start = [*tmux, "new-session", "-d", *size, *environment, "sh", "-c", script]
    subprocess.run(start, check=True)
    screens = []
    try:
        while not (folder / "out" / "failures.jsonl").exists():  # the last file of a run
            time.sleep(0.3)
            capture = [*tmux, "capture-pane", "-p", "-e"]
            done = subprocess.run(capture, check=True, capture_output=True, text=True)
            screens.append(done.stdout.rstrip())
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)
    busy = [screen for screen in screens if "left" in screen and ".png" in screen]
    return busy[len(busy) * 2 // 3]


def draw_report(job: Path, out: Path) -> None:
    """The report page, and one item opened."""
    command = [sys.executable, "-m", "sa2va_cli.cli", "export", str(job), "--format", "report"]
    subprocess.run(command, check=True)
    with browser() as page:
        page.get((job / "report.html").resolve().as_uri())
        shoot(page, out / "report.jpg")
        page.get((job / "report.html").resolve().as_uri() + "#10")
        page.refresh()
        shoot(page, out / "report-item.jpg")


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--window-size={WINDOW[0]},{WINDOW[1]}")
    driver = webdriver.ChromeService(shutil.which("chromedriver"))  # Selenium would fetch one
    page = webdriver.Chrome(options=options, service=driver)
    try:
        yield page
    finally:
        page.quit()


def shoot(page: webdriver.Chrome, out: Path) -> None:
    """A picture of the page once all of its pictures are there."""
    loaded = "return [...document.images].every((i) => i.complete && i.naturalWidth > 0)"
    while not page.execute_script(loaded):
        time.sleep(0.1)
    time.sleep(0.5)  # masks are drawn
    picture = Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("RGB")
    picture.save(out, quality=QUALITY, subsampling=0, optimize=True)


if __name__ == "__main__":
    main()
