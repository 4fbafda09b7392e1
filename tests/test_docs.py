"""The documents stay true: their commands run, their examples work, their tables are complete.

README's first command, `ask` and the Python example run with a real checkpoint; all others with the
tiny model, which is quick.
"""

import json
import os
import re
import shlex
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
PAGES = sorted((ROOT / "docs").glob("*.md"))
SA2VA = [sys.executable, "-m", "sa2va_cli.cli"]
TINY = [sys.executable, "-m", "tests.jobs.tiny_cli", "0", "-"]


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text):
    return [block for block in blocks(text, "bash") if "sa2va " in block]


def cron_lines(text):
    return [line for block in blocks(text, "cron") for line in block.splitlines()]


PAGES_WITH_COMMANDS = [page for page in PAGES if commands(page.read_text())]


def make_desk(folder, sa2va, checkpoint):
    """A folder as the reader has it, and a shell that knows `sa2va`; jobs are run by `sa2va`."""
    for name in ("photos", "inbox"):
        for number in range(2):
            path = folder / name / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True, parents=True)
            pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    write_clip(folder / "clips" / "walk.mp4")
    shutil.copy(ROOT / "configs" / "nightly.yaml", folder)
    (folder / "bin").mkdir()
    command = folder / "bin" / "sa2va"
    ask, job = shlex.join(SA2VA), shlex.join(sa2va)
    command.write_text(
        f'#!/bin/sh\ncase $1 in ask) exec {ask} "$@" ;; *) exec {job} "$@" ;; esac\n'
    )
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
        "SA2VA_MODEL": str(checkpoint),
    }
    return folder, environment


@pytest.fixture
def desk(tmp_path, golden_checkpoint):
    """With a real model."""
    return make_desk(tmp_path, SA2VA, golden_checkpoint)


@pytest.fixture
def tiny_desk(tmp_path, golden_checkpoint):
    """With the tiny one."""
    return make_desk(tmp_path, TINY, golden_checkpoint)


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
    if shutil.which("jq") is None:
        script = re.sub(r"(?<=\| )jq .*", "cat", script)
        script = re.sub(r"^jq .*", "true", script, flags=re.MULTILINE)
    return run_in(desk, "bash", "-euo", "pipefail", "-c", script)


def run_in(desk, *command):
    folder, environment = desk
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_first_command_of_the_readme_runs_with_a_real_model(desk):
    done = run(commands(README)[0], desk)
    assert done.returncode == 0, done.stderr


def test_the_commands_of_the_readme_run_one_after_the_other(tiny_desk):
    for block in commands(README)[1:]:
        done = run(block, tiny_desk)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: page.stem)
def test_commands_of_a_page_run_one_after_the_other(page, tiny_desk):
    for block in blocks(page.read_text(), "bash"):
        done = run(block, tiny_desk)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert "Traceback" not in done.stderr


def test_there_are_pages_with_commands():
    known = {"first-folder", "cron", "pipelines", "machines", "long-videos", "jobs", "presence"}
    assert known <= {page.stem for page in PAGES_WITH_COMMANDS}


def test_the_cron_line_of_the_readme_runs_and_is_quiet(tiny_desk):
    folder, _ = tiny_desk
    (line,) = cron_lines(README)
    done = run(cron_command(line, folder), tiny_desk)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("line", cron_lines((ROOT / "docs" / "cron.md").read_text()))
def test_the_cron_lines_run(line, tiny_desk):
    folder, _ = tiny_desk
    done = run(cron_command(line, folder), tiny_desk)
    assert done.returncode == 0, done.stderr


def cron_command(line, folder):
    return line.split(maxsplit=5)[5].replace("/data", str(folder))


def test_the_script_for_cron_tells_what_failed_and_only_that(tiny_desk):
    folder, _ = tiny_desk
    (folder / "photos" / "half.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (script,) = blocks((ROOT / "docs" / "cron.md").read_text(), "bash")
    done = run(script, tiny_desk)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["item_id"] for line in done.stdout.splitlines()] == ["half.jpg"]


def test_a_line_of_a_pipeline_has_what_the_page_says(tiny_desk):
    folder, _ = tiny_desk
    page = (ROOT / "docs" / "pipelines.md").read_text()
    run(blocks(page, "bash")[0], tiny_desk)
    lines = (folder / "dogs.jsonl").read_text().splitlines()
    (shown,) = map(json.loads, blocks(page, "json"))
    assert names(json.loads(lines[0])) == names(shown)
    (reading,) = blocks(page, "python")
    done = run_in(tiny_desk, sys.executable, "-c", reading)
    assert done.returncode == 0, done.stderr
    assert re.match(r"photos/[01].jpg a dog 0\.\d+ \d+\n", done.stdout)


def names(value):
    """The keys of JSON, of the first thing in each list."""
    if isinstance(value, list):
        return [names(one) for one in value[:1]]
    return {key: names(one) for key, one in value.items()} if isinstance(value, dict) else None


def test_the_format_and_the_task_that_extending_shows_work(tiny_desk, tmp_path):
    folder, _ = tiny_desk
    exporter, task = blocks((ROOT / "docs" / "extending.md").read_text(), "python")
    program = tmp_path / "extended.py"
    program.write_text(
        f"{exporter}\n{task}\n"
        "from sa2va_cli.cli.app import main\n"
        "from sa2va_cli.cli.services import Services\n"
        "from sa2va_cli.exporters import EXPORTERS\n"
        "from sa2va_cli.tasks import TASKS\n"
        "from tests.jobs.tiny import TinySource\n"
        "EXPORTERS['boxes'], TASKS['color'] = BoxesExporter, ColorTask\n"
        "main(Services(source_of=lambda config: TinySource()))\n"
    )
    options = ["-p", "the car", "-o", "out", "-f", "boxes,answers", "-d", "cpu"]
    asked = ["photos", "--task", "color", "--runner", "local", *options]
    done = run_in(tiny_desk, sys.executable, program, "annotate", *asked)
    assert done.returncode == 0, done.stderr
    boxes = [json.loads(line) for line in (folder / "out/boxes.jsonl").read_text().splitlines()]
    assert [box["item_id"] for box in boxes] == ["0.jpg", "1.jpg"]
    answer = json.loads((folder / "out/answers.jsonl").read_text().splitlines()[0])
    assert "What color is the car?" in answer["question"]


def test_the_python_example_of_the_readme_runs(desk, golden_checkpoint):
    (code,) = blocks(README, "python")
    code = code.replace('"ByteDance/Sa2VA-4B"', repr(str(golden_checkpoint)))
    code = code.replace("photo.jpg", "photos/0.jpg")
    done = run_in(desk, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("<|im_end|>\n")


def test_the_readme_names_every_command():
    from sa2va_cli.cli.app import COMMANDS

    for command in [*COMMANDS, "model"]:
        assert f"| `sa2va {command}" in README, command


def test_the_readme_and_the_help_name_every_task():
    from sa2va_cli.cli.app import app
    from sa2va_cli.tasks import TASKS

    help_text = CliRunner().invoke(app, ["annotate", "--help"]).output
    for task in TASKS:
        assert f"| `{task}` |" in README, task
        assert f"{task}:" in help_text, task


def test_the_readme_names_every_format_and_exit_code():
    from sa2va_cli.cli import exit_codes
    from sa2va_cli.exporters import EXPORTERS

    for name in EXPORTERS:
        assert f"`{name}`" in README, name
    for name, code in vars(exit_codes).items():
        if name.startswith("EXIT_"):
            assert f"| {code} |" in README, name


def test_links_of_the_documents_lead_somewhere():
    for document in [ROOT / "README.md", *PAGES]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_every_page_can_be_reached_from_the_readme():
    for page in PAGES:
        assert f"(docs/{page.name})" in README, page.name
