"""Runs of jobs with the tiny model: in this process, or as the real command in another."""

import io
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from sa2va_cli.config import JobConfig, Prompt
from sa2va_cli.jobs.lock import JobLock
from sa2va_cli.jobs.progress import QuietView
from sa2va_cli.jobs.reader import StoreReader
from sa2va_cli.jobs.stop import StopSignals
from sa2va_cli.jobs.watch import RunState
from sa2va_cli.runners.job import prepare, run
from tests.jobs.tiny import TinySource

PROMPTS = (Prompt("car", "the red car"), Prompt("person", "every person"))


def job(folder: Path, **options: Any) -> JobConfig:
    """Pictures of folder/in into folder/out, by two workers."""
    defaults = {"inputs": (str(folder / "in"),), "output": folder / "out", "devices": "cpu:2"}
    return JobConfig(**{"prompts": PROMPTS} | defaults | options)


def run_job(config: JobConfig, source: TinySource | None = None) -> RunState:
    prepared = prepare(config, source or TinySource())
    with JobLock(prepared.job_dir) as lock:
        return run(prepared, lock, QuietView(io.StringIO()), StopSignals())


def results(job_dir: Path) -> list[Any]:
    """All that readers of a store can see."""
    with StoreReader(job_dir) as reader:
        items = [(item, list(reader.masks(item.item_id))) for item in reader.items()]
        return [*items, *reader.failures()]


def command(*arguments: str | Path, seconds: float = 0.0, broken: str = "-") -> list[str]:
    """The real command line, with the tiny model."""
    head = [sys.executable, "-m", "tests.jobs.tiny_cli", str(seconds), broken]
    return [*head, *map(str, arguments)]


def sa2va(*arguments: str | Path, seconds: float = 0.0, broken: str = "-", **options: Any):
    """Run it to its end."""
    return subprocess.run(
        command(*arguments, seconds=seconds, broken=broken),
        capture_output=True, text=True, check=False, timeout=120, **options,
    )  # fmt: skip


def start(*arguments: str | Path, seconds: float = 0.0, **options: Any) -> subprocess.Popen:
    """Run it in the background, with its own process group."""
    defaults = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(
        command(*arguments, seconds=seconds), start_new_session=True, **defaults | options
    )


def workers_of(pid: int) -> list[psutil.Process]:
    """The processes that hold models."""
    try:
        children = psutil.Process(pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The condition's value as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


def done_items(job_dir: Path) -> int:
    """How many are done, while the run goes on."""
    if not (job_dir / "job.sqlite").exists():
        return 0
    with StoreReader(job_dir) as reader:
        return sum(1 for _ in reader.items())
