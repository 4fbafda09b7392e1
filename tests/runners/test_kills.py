"""SIGKILL at random moments, to workers and to the parent: nothing is lost, nothing done twice.

The seeds are fixed, the moments are not: they hang on how fast the machine is.
"""

import random
import sqlite3
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from sa2va_cli.exporters import EXPORTERS
from tests.jobs.runs import done_items, results, sa2va, start, wait_for, workers_of
from tests.jobs.tiny import write_pictures

FORMATS = ",".join(sorted({"coco", "masks", "answers", "jsonl"} & EXPORTERS.keys()))


def arguments(folder: Path, out: str) -> list:
    options = ("-p", "car=the red car", "-p", "a dog", "-d", "cpu:2", "--format", FORMATS)
    return ["annotate", folder / "in", "-o", folder / out, *options]


def undisturbed(folder: Path, pictures: int) -> None:
    write_pictures(folder / "in", pictures)
    run = sa2va(*arguments(folder, "calm"))
    assert run.returncode == 0, run.stderr


def kill_workers(folder: Path, kills: int, seconds: float, pictures: int) -> None:
    """One run; after each kill it must get on before the next one."""
    moments = random.Random(1)
    run = start(*arguments(folder, "workers"), seconds=seconds)
    for _ in range(kills):
        wait_for_more(folder / "workers", 1)
        time.sleep(moments.uniform(0, 4 * seconds))
        moments.choice(wait_for(partial(workers_of, run.pid))).kill()
    assert done_items(folder / "workers") < pictures, "the kills came too late"
    stderr = run.communicate(timeout=200)[1]
    assert run.returncode == 0, stderr


def kill_parents(folder: Path, kills: int, seconds: float, pictures: int) -> None:
    """As many runs of the same command as kills, and one that is left alone."""
    moments = random.Random(2)
    for _ in range(kills):
        run = start(*arguments(folder, "parents"), seconds=seconds)
        wait_for(partial(workers_of, run.pid))
        wait_for_more(folder / "parents", moments.randint(0, max(1, pictures // (2 * kills))))
        time.sleep(moments.uniform(0, 4 * seconds))
        workers = workers_of(run.pid)
        run.kill()
        run.communicate()
        psutil.wait_procs(workers, timeout=30)
        assert not any(worker.is_running() for worker in workers)
    assert done_items(folder / "parents") < pictures, "the kills came too late"
    last = sa2va(*arguments(folder, "parents"))
    assert last.returncode == 0, last.stderr


def wait_for_more(job_dir: Path, more: int) -> None:
    wanted = done_items(job_dir) + more
    wait_for(lambda: done_items(job_dir) >= wanted)


def assert_equal(folder: Path, out: str) -> None:
    assert results(folder / out) == results(folder / "calm")
    assert files(folder / out) == files(folder / "calm")
    connection = sqlite3.connect(folder / out / "job.sqlite")
    done = connection.execute(
        "SELECT item, sum(outcome = 'done') FROM attempts GROUP BY item"
    ).fetchall()
    connection.close()
    assert all(times == 1 for _, times in done), "no item is done twice"


def files(job_dir: Path) -> dict[str, bytes]:
    """Everything exported, by name."""
    ours = {"job.sqlite", "job.lock"}
    return {
        str(path.relative_to(job_dir)): path.read_bytes()
        for path in sorted(job_dir.rglob("*"))
        if path.is_file() and path.name not in ours and path.parent.name != "logs"
    }


def test_a_few_kills_change_nothing(tmp_path):
    undisturbed(tmp_path, pictures=40)
    kill_workers(tmp_path, kills=3, seconds=0.25, pictures=40)
    assert_equal(tmp_path, "workers")
    kill_parents(tmp_path, kills=3, seconds=0.15, pictures=40)
    assert_equal(tmp_path, "parents")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_of_workers_and_of_parents_change_nothing(tmp_path):
    undisturbed(tmp_path, pictures=300)
    kill_workers(tmp_path, kills=20, seconds=0.1, pictures=300)
    assert_equal(tmp_path, "workers")
    kill_parents(tmp_path, kills=20, seconds=0.05, pictures=300)
    assert_equal(tmp_path, "parents")
