"""`sa2va export` as people run it: a process, a store, files."""

import json
import os
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from typer.testing import CliRunner

from sa2va_cli.cli.app import app
from sa2va_cli.exporters import EXPORTERS
from sa2va_cli.exporters.files import sole_writer
from sa2va_cli.jobs.lock import JobLock
from sa2va_cli.jobs.store import JobStore
from sa2va_cli.masks import encode_rle
from sa2va_cli.results import AnswerRecord, ItemResult, MaskRecord, ObjectRecord


@pytest.fixture
def job_dir(tmp_path):
    """A finished job with one picture and one object."""
    folder = tmp_path / "job"
    store = JobStore.open(folder)
    mask = np.zeros((8, 10), dtype=bool)
    mask[2:5, 3:9] = True
    with store.writing() as connection:
        connection.execute(
            "INSERT INTO items (item, item_id, path, kind, size, mtime_ns, own) "
            "VALUES (1, 'a/b.jpg', ?, 'image', 1, 1, '')",
            (b"/gone/a/b.jpg",),
        )
    store.add_masks(1, [MaskRecord(0, 1, encode_rle(mask), 0.8, 0.9)])
    answer = AnswerRecord(0, "car", "the red car", "<image>\n…", "Sure.", "Sure, [SEG].")
    record = ObjectRecord(1, 0, "car", "the red car", 0.99)
    store.finish(1, ItemResult("a/b.jpg", "", "image", 8, 10, answers=(answer,), objects=(record,)))
    store.commit()
    store.close()
    return folder


def sa2va(*arguments):
    command = [sys.executable, "-m", "sa2va_cli.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_export_writes_the_formats_that_are_asked_for_and_says_so(job_dir, tmp_path):
    done = sa2va("export", job_dir, "--format", "coco,masks,answers", "-o", tmp_path / "out")
    assert (done.returncode, done.stdout) == (0, "")
    assert "annotations.json: 1 annotation\n" in done.stderr
    data = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert data["annotations"][0]["area"] == 18
    assert (tmp_path / "out" / "masks" / "a" / "b.jpg" / "obj_001_car.png").exists()
    assert (tmp_path / "out" / ".sa2va-output").exists(), "these masks are no photos"


def test_export_writes_into_the_job_folder_unless_told_otherwise(job_dir):
    result = CliRunner().invoke(app, ["export", str(job_dir), "--min-score", "0.9"])
    assert result.exit_code == 0
    assert json.loads((job_dir / "annotations.json").read_text())["annotations"] == []
    assert not (job_dir / ".sa2va-output").exists(), "it is known by its store"


def test_a_picture_that_is_gone_is_told_and_does_not_stop_the_rest(job_dir):
    done = sa2va("export", job_dir, "--format", "overlay,coco")
    assert done.returncode == 0
    assert "/gone/a/b.jpg" in done.stderr
    assert (job_dir / "annotations.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "cocoa"], "Unknown format 'cocoa'"),
        (["--min-score", "1.5"], "not between 0 and 1"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error_and_writes_nothing(job_dir, arguments, words):
    before = sorted(job_dir.iterdir())
    done = sa2va("export", job_dir, *arguments)
    assert done.returncode == 2
    assert words in done.stderr and "Hint:" in done.stderr
    assert sorted(job_dir.iterdir()) == before


def test_export_does_not_write_where_a_run_will_but_may_read(job_dir, tmp_path):
    with JobLock(job_dir):
        into_the_job = sa2va("export", job_dir)
        elsewhere = sa2va("export", job_dir, "-f", "coco", "-o", tmp_path / "elsewhere")
    assert into_the_job.returncode == 11
    assert f"in use by process {os.getpid()}" in into_the_job.stderr
    assert not (job_dir / "annotations.json").exists()
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert (tmp_path / "elsewhere" / "annotations.json").exists()


def test_pictures_that_were_changed_in_place_are_told(job_dir, tmp_path):
    picture = tmp_path / "b.jpg"
    picture.write_bytes(b"another picture")
    with closing(JobStore.open(job_dir)) as store:
        with store.writing() as connection:
            connection.execute("UPDATE items SET path = ?", (os.fsencode(picture),))
        store.commit()
    words = "Changed since they were annotated: 1. Masks may not fit: annotate again."
    assert words in sa2va("export", job_dir, "-f", "coco").stderr


@pytest.mark.parametrize("command", ["export", "status", "annotate tests -m demo -p x -o"])
def test_a_damaged_store_is_told_in_a_sentence(job_dir, command):
    store = job_dir / "job.sqlite"
    data = bytearray(store.read_bytes())
    page = int.from_bytes(data[16:18], "big")  # the first one tells that it is a store, and whose
    data[page:] = b"\xff" * (len(data) - page)
    store.write_bytes(data)
    run = sa2va(*command.split(), job_dir)
    assert run.returncode == 1
    assert run.stderr.startswith("Error: The job's file job.sqlite cannot be read: database disk")
    assert "Traceback" not in run.stderr
    assert store.read_bytes() == data


def test_two_exports_do_not_write_into_one_folder(job_dir, tmp_path):
    with sole_writer(tmp_path):
        run = sa2va("export", job_dir, "-o", tmp_path)
    assert run.returncode == 11
    assert "Another export is writing into" in run.stderr
    assert not (tmp_path / "annotations.json").exists()
    assert sa2va("export", job_dir, "-o", tmp_path).returncode == 0


def test_a_folder_that_is_no_job_is_an_error(tmp_path):
    done = sa2va("export", tmp_path)
    assert done.returncode == 1
    assert "Error:" in done.stderr and "Traceback" not in done.stderr


def test_the_help_names_every_format():
    text = CliRunner().invoke(app, ["export", "--help"], terminal_width=200).output
    assert [name for name in EXPORTERS if name not in text] == []
