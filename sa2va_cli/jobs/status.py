"""How a job stands, read from its folder while it runs or afterwards; shards are summed up."""

import json
import os
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sa2va_cli.errors import JobError
from sa2va_cli.jobs.lock import Holder, read_holder
from sa2va_cli.jobs.reader import PAGE_ROWS
from sa2va_cli.jobs.schema import DONE, FAILED, PENDING, holds_job, open_existing, store_path
from sa2va_cli.jobs.settings import META_NAME

RECENT_SECONDS = 600.0  # of work, over which the speed is taken


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job folder, or one shard of it."""

    job_dir: str
    done: int
    failed: int
    left: int
    masks: int
    items_per_second: float  # over the last ten minutes of work
    running: bool
    holder: str  # "process 12 on host", or empty
    settings: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        state = f"running: {self.holder}" if self.running else "not running"
        masks = "1 mask" if self.masks == 1 else f"{self.masks} masks"
        lines = [
            f"{self.job_dir}: {state}",
            f"  {self.done} done, {self.failed} failed, {self.left} left; {masks}",
        ]
        if self.items_per_second:
            lines.append(f"  {self.items_per_second:.2f} items a second while it worked")
        prompts = ", ".join(self.settings.get("prompts", []))
        lines.append(f"  {self.settings.get('task', '?')}: {prompts}")
        return "\n".join(lines)


def job_folders(folder: Path) -> list[Path]:
    """The folder itself if it holds a store, else its shards. Raises JobError if there is none."""
    if holds_job(folder):
        return [folder]
    shards = shard_folders(folder)
    if not shards:
        raise JobError(f"{folder} holds no job.", hint="give the folder that annotate wrote")
    return shards


def shard_folders(folder: Path) -> list[Path]:
    """The jobs in it that --shard made."""
    if not os.path.isdir(folder):  # glob raises for names that are too long
        return []
    return sorted(path.parent for path in folder.glob(f"shard-*/{store_path(Path()).name}"))


def job_status(job_dir: Path) -> JobStatus:
    """Raises JobError when there is no store, or not one of ours."""
    connection = open_existing(store_path(job_dir))
    try:
        counts = dict(connection.execute("SELECT state, count(*) FROM items GROUP BY state"))
        masks = _count_masks(connection)
        number, start, end = connection.execute(
            "SELECT count(*), min(started), max(started + seconds) FROM attempts WHERE outcome = ? "
            "AND started > (SELECT max(started) FROM attempts) - ?",
            (DONE, RECENT_SECONDS),
        ).fetchone()
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (META_NAME,)).fetchone()
    finally:
        connection.close()
    holder = read_holder(job_dir)
    return JobStatus(
        job_dir=str(job_dir),
        done=counts.get(DONE, 0),
        failed=counts.get(FAILED, 0),
        left=counts.get(PENDING, 0),
        masks=masks,
        items_per_second=round(number / (end - start), 3) if number and end > start else 0.0,
        running=holder is not None,
        holder=_who(holder),
        settings=json.loads(row[0]) if row else {},
    )


def _count_masks(connection: sqlite3.Connection) -> int:
    """Of finished items, a page of them at a time: a run has to write in between."""
    query = (
        "SELECT max(item), sum((SELECT count(*) FROM masks WHERE masks.item = page.item)) FROM "
        "(SELECT item FROM items WHERE state = ? AND item > ? ORDER BY item LIMIT ?) AS page"
    )
    last, count = -1, 0
    while True:
        last, more = connection.execute(query, (DONE, last, PAGE_ROWS)).fetchone()
        if last is None:
            return count
        count += more


def _who(holder: Holder | None) -> str:
    return f"process {holder.pid} on {holder.host}" if holder else ""
