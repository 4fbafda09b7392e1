"""How many processor cores and how much memory this process may use: less than the machine has, in
a container."""

import os
from contextlib import suppress
from pathlib import Path

MEMORY_INFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # a container's own, as it sees it
LIMITS = (  # the limit, what is in use, and how much of that are files read before; version 2 and 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
QUOTAS = (  # microseconds of processor time in each period; version 2 and 1
    ("cpu.max",),
    ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
)


def usable_cores() -> int:
    """Of those that this process may run on, as many as its container may keep busy."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    for files in QUOTAS:
        try:
            quota, period = map(int, " ".join((CGROUP / f).read_text() for f in files).split())
        except (OSError, ValueError):  # "max" is no number: there is no quota
            continue
        if quota > 0:  # -1: none
            cores = min(cores, max(1, -(-quota // period)))
    return cores


def available_memory() -> int:
    """Bytes that can be had without taking them from others; 0 where nobody tells."""
    try:
        lines = dict(line.split(":", 1) for line in MEMORY_INFO.read_text().splitlines())
        available = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return 0
    for limit, used, statistics, freed_first in LIMITS:
        try:
            left = int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text())
        except (OSError, ValueError):  # "max" is no number: there is no limit
            continue
        with suppress(OSError, ValueError, KeyError):
            lines = dict(line.split() for line in (CGROUP / statistics).read_text().splitlines())
            left += int(lines[freed_first])
        available = min(available, max(0, left))
    return available
