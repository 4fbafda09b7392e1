"""The results of a job, written by one process: the parent of the workers.

Rows pile up in one transaction until `commit`. Readers see an item with its done mark or not
at all; masks of a long video are written as they come and stay invisible until then.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from sa2va_cli.errors import JobError
from sa2va_cli.jobs.messages import Checkpoint
from sa2va_cli.jobs.schema import (
    BUSY_SECONDS,
    DONE,
    FAILED,
    RESULT_TABLES,
    create,
    create_or_open,
    holds_job,
    is_busy,
    open_existing,
    set_wait,
    store_path,
)
from sa2va_cli.masks import Rle
from sa2va_cli.results import ItemResult, MaskRecord

# Outcomes of an attempt. Only crashes and hangs count against an item, and interruptions by
# which it never got further.
CRASHED, HUNG, RELEASED, INTERRUPTED = "crashed", "hung", "released", "interrupted"
PAUSE_SECONDS = 0.05  # between two tries to write while somebody reads

WhileBusy = Callable[[float], None]  # told how many seconds another program has been in the way


def _wait_on(seconds: float) -> None:
    """As long as it takes."""


class JobStore:
    """Open for writing. What writes raises JobError when the disk is full or fails."""

    def __init__(
        self,
        job_dir: Path,
        connection: sqlite3.Connection,
        guard: Callable[[], None],
        while_busy: WhileBusy = _wait_on,
    ) -> None:
        self.job_dir = job_dir
        self.connection = connection
        self._guard = guard
        self._while_busy = while_busy

    @classmethod
    def open(
        cls,
        job_dir: Path,
        guard: Callable[[], None] = lambda: None,
        while_busy: WhileBusy = _wait_on,
    ) -> "JobStore":
        """The store of a folder; both are made when they are not there.

        `guard` raises when the folder is no longer ours; it is asked before every commit.
        `while_busy` is called again and again as long as another program keeps us from writing.
        """
        with disk_errors(job_dir):
            job_dir.mkdir(parents=True, exist_ok=True)
            return cls(job_dir, create_or_open(store_path(job_dir)), guard, while_busy)

    @classmethod
    def peek(cls, job_dir: Path) -> "JobStore":
        """The store as it is, for looking only; an empty one when there is none. Makes no file."""
        there = holds_job(job_dir)
        connection = open_existing(store_path(job_dir)) if there else create(":memory:")
        return cls(job_dir, connection, lambda: None)

    def close(self) -> None:
        """Drop what was not committed."""
        if self.connection.in_transaction:
            self.connection.rollback()
        self.connection.close()

    def commit(self) -> None:
        with disk_errors(self.job_dir):
            if self.connection.in_transaction:
                self._guard()
                self._when_free("COMMIT")
                set_wait(self.connection, BUSY_SECONDS)

    def _when_free(self, statement: str) -> None:
        """As soon as nobody is in the way: a backup may read the file for hours."""
        since = time.monotonic()
        while True:
            try:
                self.connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
            self._while_busy(time.monotonic() - since)
            time.sleep(PAUSE_SECONDS)
            self._guard()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection, inside the running transaction; nothing is committed here."""
        with disk_errors(self.job_dir):
            if not self.connection.in_transaction:
                # SQLite would also wait at each page that it writes before the end of a large
                # transaction, and no signal is heard meanwhile: `_when_free` waits.
                set_wait(self.connection, 0)
                self._when_free("BEGIN IMMEDIATE")
            yield self.connection

    def meta(self, name: str) -> str | None:
        row = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_meta(self, name: str, value: str) -> None:
        with self.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def begin(self, item: int, device: str) -> None:
        """An attempt starts. One that a kill of this process leaves open is INTERRUPTED: the next
        run's plan says so, and counts them."""
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO attempts (item, attempt, device, started) SELECT ?, "
                "1 + coalesce(max(attempt), 0), ?, ? FROM attempts WHERE item = ?",
                (item, device, time.time(), item),
            )

    def add_masks(self, item: int, masks: Iterable[MaskRecord]) -> None:
        with self.writing() as connection:
            connection.executemany(
                "INSERT INTO masks VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (item, m.frame_idx, m.obj_id, *_rle_row(m.rle), m.score, m.object_score)
                    for m in masks
                ),
            )

    def finish(self, item: int, result: ItemResult) -> None:
        """All of an item but its masks, which are there already, and the done mark."""
        with self.writing() as connection:
            connection.executemany(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                ((item, *astuple(answer)) for answer in result.answers),
            )
            connection.executemany(
                "INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (item, o.obj_id, o.prompt_idx, o.category, o.label, o.seg_probability)
                    for o in result.objects
                ),
            )
            connection.executemany(
                "INSERT INTO windows VALUES (?, ?, ?, ?, ?, ?, ?)",
                ((item, *astuple(window)) for window in result.windows),
            )
            connection.execute(
                "UPDATE items SET state = ?, height = ?, width = ?, num_frames = ?, fps = ?, "
                "notes = ?, frames = ? WHERE item = ?",
                (DONE, *_shape_row(result), json.dumps(result.notes), _runs(result), item),
            )
            connection.execute("DELETE FROM checkpoints WHERE item = ?", (item,))
            self.end_attempt(item, DONE)

    def reach(self, item: int, checkpoint: Checkpoint) -> None:
        """From now on an attempt that ends early is not in vain; nor was an earlier one."""
        with self.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)",
                (item, *astuple(checkpoint)),
            )
            connection.execute(
                "UPDATE attempts SET outcome = ? WHERE item = ? AND outcome = ?",
                (RELEASED, item, INTERRUPTED),
            )

    def checkpoint(self, item: int) -> Checkpoint | None:
        """How far an item came that is not done."""
        query = "SELECT frame_idx, records, state FROM checkpoints WHERE item = ?"
        row = self.connection.execute(query, (item,)).fetchone()
        return Checkpoint(*row) if row else None

    def fail(self, item: int, reason: str, outcome: str = FAILED) -> int:
        """The item is given up, with a reason a person understands; how often it was tried."""
        with self.writing() as connection:
            connection.execute("DELETE FROM checkpoints WHERE item = ?", (item,))
            self.drop_rows(item)
            self.end_attempt(item, outcome, reason)
            connection.execute(
                "INSERT OR REPLACE INTO failures SELECT ?, ?, count(*) FROM attempts "
                "WHERE item = ? AND outcome IN (?, ?, ?)",
                (item, reason, item, FAILED, CRASHED, HUNG),
            )
            connection.execute("UPDATE items SET state = ? WHERE item = ?", (FAILED, item))
            query = "SELECT attempts FROM failures WHERE item = ?"
            return int(connection.execute(query, (item,)).fetchone()[0])

    def give_back(self, item: int, outcome: str, reason: str = "") -> None:
        """The item is to be done again, by another worker or another run."""
        with self.writing():
            self.drop_rows(item)
            self.end_attempt(item, outcome, reason)

    def blamed(self, item: int) -> int:
        """How many workers died or hung over this item, in this run and those before."""
        query = "SELECT count(*) FROM attempts WHERE item = ? AND outcome IN (?, ?)"
        return int(self.connection.execute(query, (item, CRASHED, HUNG)).fetchone()[0])

    def end_attempt(self, item: int, outcome: str, reason: str = "") -> None:
        with self.writing() as connection:
            connection.execute(
                "UPDATE attempts SET outcome = ?, reason = ?, seconds = ? - started "
                "WHERE item = ? AND outcome IS NULL",
                (outcome, reason, time.time(), item),
            )

    def drop_rows(self, item: int) -> None:
        """What is stored of an item that is not done, but for that before its checkpoint."""
        with self.writing() as connection:
            drop_unfinished(connection, "item = ?", (item,))


def drop_unfinished(connection: sqlite3.Connection, which: str, values: Sequence[object]) -> None:
    """The same for all items that `which` is true of."""
    for table in RESULT_TABLES:
        kept = "TRUE"
        if table == "masks":
            kept = (
                "frame_idx >= coalesce((SELECT checkpoints.frame_idx FROM checkpoints "
                "WHERE checkpoints.item = masks.item), 0)"
            )
        connection.execute(f"DELETE FROM {table} WHERE ({which}) AND {kept}", values)


def _runs(result: ItemResult) -> str:
    return json.dumps([astuple(run) for run in result.frames])


def _rle_row(rle: Rle) -> tuple[int, int, str]:
    height, width = rle["size"]
    return height, width, rle["counts"]


def _shape_row(result: ItemResult) -> tuple[int, int, int, float | None]:
    return result.height, result.width, result.num_frames, result.fps


@contextmanager
def disk_errors(job_dir: Path) -> Iterator[None]:
    """A full or failing disk, as an error that people understand."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        if not job_dir.is_dir():
            raise JobError(
                f"The job folder {job_dir} is gone: it was removed or moved while it was in use.",
                hint="put it back to go on with it, or run the same command again to begin anew",
            ) from error
        raise JobError(
            f"Cannot write to {job_dir}: {error}.",
            hint="free some space or check the disk, then run the same command again; "
            "everything done so far is kept",
        ) from error
