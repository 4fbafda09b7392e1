"""The parent stays light: figures for 20,000 items and 200,000 paths. Minutes: `make test-slow`."""

import io
import threading
import time
from pathlib import Path

import psutil
import pytest

from sa2va_cli.jobs.lock import JobLock
from sa2va_cli.jobs.plan import Renewal, apply, note_found
from sa2va_cli.jobs.progress import QuietView
from sa2va_cli.jobs.stop import StopSignals
from sa2va_cli.jobs.store import JobStore
from sa2va_cli.runners.job import prepare, run
from tests.jobs.runs import job
from tests.jobs.tiny import TinySource, write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def write_many(folder: Path, count: int) -> None:
    """Copies of one small picture, a thousand to a folder."""
    data = write_pictures(folder / "seed", 1, size=8)[0].read_bytes()
    for index in range(count):
        path = folder / "in" / f"{index // 1000:03d}" / f"{index:06d}.png"
        if index % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(data)


class MemoryLog:
    """Resident megabytes of this process, twice a second."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryLog":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.5):
            self.megabytes.append(psutil.Process().memory_info().rss / 2**20)


def test_the_parent_stays_flat_and_quick_over_20000_items(tmp_path, capsys):
    count = 20_000
    write_many(tmp_path, count)
    processor = time.process_time()
    started = time.monotonic()
    with MemoryLog() as memory:
        prepared = prepare(job(tmp_path), TinySource())
        with JobLock(prepared.job_dir) as lock:
            state = run(prepared, lock, QuietView(io.StringIO()), StopSignals())
    milliseconds = (time.process_time() - processor) / count * 1000
    spread = max(memory.megabytes) - min(memory.megabytes)
    with capsys.disabled():
        print(
            f"\n{count} items in {time.monotonic() - started:.0f} s: "
            f"{milliseconds:.2f} ms of the parent's processor time an item, memory "
            f"{min(memory.megabytes):.0f} to {max(memory.megabytes):.0f} MB"
        )
    assert state.done == count
    assert spread < 200
    assert milliseconds < 5


def test_200000_paths_are_planned_in_20_seconds(tmp_path, capsys):
    write_many(tmp_path, 200_000)
    started, processor = time.monotonic(), time.process_time()
    prepared = prepare(job(tmp_path), TinySource())
    found = time.monotonic()
    store = JobStore.open(prepared.job_dir)
    note_found(store, prepared.found.items, prepared.found.problems)
    plan, _ = apply(store, Renewal())
    store.close()
    ended = time.monotonic()
    with capsys.disabled():
        print(
            f"\n200,000 paths: found in {found - started:.1f} s, planned in {ended - found:.1f} s, "
            f"{time.process_time() - processor:.1f} s of processor time"
        )
    assert plan.todo == 200_000
    assert time.process_time() - processor < 20
