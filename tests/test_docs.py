"""The documents stay true: README's commands run, and its table names every command."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BASH = [block for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if "sa2va " in block]
CRON = re.findall(r"```cron\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, golden_checkpoint):
    """A folder as README's reader has it, and a shell that knows `sa2va`."""
    folder = tmp_path_factory.mktemp("desk")
    for number in range(2):
        path = folder / "photos" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    write_clip(folder / "clips" / "walk.mp4")
    (folder / "bin").mkdir()
    command = folder / "bin" / "sa2va"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sa2va_cli.cli "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SA2VA_MODEL": str(golden_checkpoint),
        "CUDA_VISIBLE_DEVICES": "",
    }
    return folder, environment


def write_clip(path):
    import av

    path.parent.mkdir()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(6):
            pixels = np.full((64, 64, 3), 40 * index, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def run(script, desk):
    folder, environment = desk
    if shutil.which("jq") is None:
        script = script.replace("| jq -r .item_id", "| cat")
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("block", BASH)
def test_readme_commands_run(block, desk):
    done = run(block, desk)
    assert done.returncode == 0, done.stderr


def test_the_cron_line_of_the_readme_runs_and_is_quiet(desk):
    folder, _ = desk
    command = CRON[0].split(maxsplit=5)[5].replace("/data", str(folder))
    done = run(command, desk)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_the_python_example_of_the_readme_runs(desk, golden_checkpoint):
    folder, environment = desk
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    code = code.replace('"ByteDance/Sa2VA-4B"', repr(str(golden_checkpoint)))
    code = code.replace("photo.jpg", "photos/0.jpg")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("<|im_end|>\n")


def test_the_readme_names_every_command():
    from sa2va_cli.cli.app import app

    help_text = CliRunner().invoke(app, ["--help"]).output
    commands = set(re.findall(r"^│ (\w+) ", help_text, re.MULTILINE)) - {"help"}
    assert commands >= {"annotate", "export", "status", "merge", "model"}
    for command in commands:
        assert f"`sa2va {command}" in README, command


def test_links_of_the_documents_lead_somewhere():
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"
