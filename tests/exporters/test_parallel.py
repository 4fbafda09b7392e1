import os
import threading
import time

import pytest

from sa2va_cli import resources
from sa2va_cli.exporters import parallel
from sa2va_cli.exporters.parallel import (
    FEW_THREADS,
    MOST_THREADS,
    map_in_threads,
    threads_that_fit,
)
from sa2va_cli.resources import available_memory, usable_cores


def threads_used(workers: int) -> int:
    def work(_):
        time.sleep(0.001)  # while it rests, an idle thread would be taken again
        return threading.current_thread().name

    return len(set(map_in_threads(work, range(100), workers)))


def test_as_many_threads_as_are_asked_for():
    assert threads_used(3) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_no_more_threads_than_cores_that_we_may_use():
    ours = os.sched_getaffinity(0)
    assert threads_used(0) <= min(MOST_THREADS, len(ours))
    os.sched_setaffinity(0, {min(ours)})
    try:
        assert threads_used(0) == 1
    finally:
        os.sched_setaffinity(0, ours)


GB = 2**30


@pytest.mark.parametrize(
    ("gigabytes", "threads"), [(0, FEW_THREADS), (20, 20), (1000, MOST_THREADS)]
)
def test_more_threads_where_memory_holds_a_large_picture_for_each(gigabytes, threads, monkeypatch):
    monkeypatch.setattr(parallel, "usable_cores", lambda: 128)
    monkeypatch.setattr(parallel, "available_memory", lambda: gigabytes * GB)
    assert threads_that_fit() == threads


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, 64 * GB),
        ({"memory.max": "max", "memory.current": "5"}, 64 * GB),
        ({"memory.max": str(8 * GB), "memory.current": str(3 * GB)}, 5 * GB),
        (
            {
                "memory.max": str(8 * GB),
                "memory.current": str(7 * GB),
                "memory.stat": f"anon {GB}\ninactive_file {5 * GB}",
            },
            6 * GB,
        ),
        ({"memory.max": str(2 * GB), "memory.current": str(3 * GB)}, 0),
        (
            {
                "memory/memory.limit_in_bytes": str(8 * GB),
                "memory/memory.usage_in_bytes": str(3 * GB),
                "memory/memory.stat": f"total_cache {3 * GB}\ntotal_inactive_file {2 * GB}",
            },
            7 * GB,
        ),
        ({"memory/memory.limit_in_bytes": str(2**63 - 4096)}, 64 * GB),
    ],
)
def test_memory_is_what_the_machine_has_and_a_container_may_use(files, left, tmp_path, monkeypatch):
    info = tmp_path / "meminfo"
    info.write_text(f"MemTotal: 1 kB\nMemAvailable:   {64 * GB // 1024} kB\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(resources, "MEMORY_INFO", info)
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    assert available_memory() == left
    info.write_text("nothing known")
    assert available_memory() == 0


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu.max": "400000 100000"}, 4),
        ({"cpu.max": "250000 100000"}, 3),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "9900000 100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "800000", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "800000"}, 64),
    ],
)
def test_cores_are_those_that_a_container_may_keep_busy(files, cores, tmp_path, monkeypatch):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert usable_cores() == cores
