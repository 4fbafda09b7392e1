"""SIGKILL at random moments, to workers and to the parent: nothing is lost, nothing done twice.

The seeds are fixed, the moments are not: they hang on how fast the machine is.
"""

import random
import sqlite3
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
    killed = 0
    while killed < kills:
        before = done_items(folder / "workers")
        wait_for(lambda: done_items(folder / "workers") > before)
        moments_wait(moments, seconds * 4)
        victims = workers_of(run.pid)
        if victims:
            moments.choice(victims).kill()
            killed += 1
    assert done_items(folder / "workers") < pictures, "the kills came too late"
    stderr = run.communicate(timeout=200)[1]
    assert run.returncode == 0, stderr


def kill_parents(folder: Path, kills: int, seconds: float, pictures: int) -> None:
    """As many runs of the same command as kills, and one that is left alone."""
    moments = random.Random(2)
    for _ in range(kills):
        run = start(*arguments(folder, "parents"), seconds=seconds)
        begun = done_items(folder / "parents")
        more = moments.randint(0, max(1, pictures // (2 * kills)))
        wait_for(lambda: workers_of(run.pid))
        wait_for(lambda: run.poll() is not None or done_items(folder / "parents") >= begun + more)
        moments_wait(moments, seconds * 4)
        workers = workers_of(run.pid)
        run.kill()
        run.communicate()
        wait_for(lambda: not any(psutil.pid_exists(w.pid) and w.is_running() for w in workers))
    assert done_items(folder / "parents") < pictures, "the kills came too late"
    last = sa2va(*arguments(folder, "parents"))
    assert last.returncode == 0, last.stderr


def moments_wait(moments: random.Random, longest: float) -> None:
    import time

    time.sleep(moments.uniform(0, longest))


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
    kill_workers(tmp_path, kills=3, seconds=0.08, pictures=40)
    assert_equal(tmp_path, "workers")
    kill_parents(tmp_path, kills=3, seconds=0.05, pictures=40)
    assert_equal(tmp_path, "parents")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_of_workers_and_of_parents_change_nothing(tmp_path):
    undisturbed(tmp_path, pictures=300)
    kill_workers(tmp_path, kills=20, seconds=0.1, pictures=300)
    assert_equal(tmp_path, "workers")
    kill_parents(tmp_path, kills=20, seconds=0.05, pictures=300)
    assert_equal(tmp_path, "parents")
