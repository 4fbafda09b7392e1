"""A disk that fills up in the middle of a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sa2va_cli.config import parse_prompt
from tests.jobs.runs import done_items, job, results, run_job, sa2va
from tests.jobs.tiny import write_pictures


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 2 MB, which only root may mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
    if (
        sys.platform != "linux"
        or os.geteuid() != 0
        or subprocess.run(mount, check=False).returncode
    ):
        pytest.skip("no small disk can be mounted here (it takes root)")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def annotate(pictures: Path, out: Path):
    arguments = ("-p", "a car", "-p", "a dog", "-d", "cpu:2", "--format", "coco")
    return sa2va("annotate", pictures, "-o", out, *arguments)


@pytest.mark.parametrize("ballast_bytes", [1_800_000, 1_600_000])
def test_a_full_disk_is_told_and_after_making_room_the_same_command_finishes(
    tmp_path, small_disk, ballast_bytes
):
    """Among the items, and while the results are exported."""
    write_pictures(tmp_path / "in", 40, size=120)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(ballast_bytes))
    run = annotate(tmp_path / "in", small_disk / "out")
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    assert "Error: Cannot write" in run.stderr
    assert "same command" in run.stderr
    ballast.unlink()
    done_before = done_items(small_disk / "out")
    again = annotate(tmp_path / "in", small_disk / "out")
    assert again.returncode == 0, again.stderr
    assert f"40 done ({40 - done_before} in this run)" in again.stderr
    prompts = tuple(map(parse_prompt, ("a car", "a dog")))
    run_job(job(tmp_path, prompts=prompts))
    assert results(small_disk / "out") == results(tmp_path / "out")
