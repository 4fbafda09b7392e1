"""What is left to do: that which was found, held against that which is stored.

All comparing is done by SQLite, so that 200,000 paths need neither time nor memory.
"""

import json
import os
import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sa2va_cli.config import Prompt
from sa2va_cli.jobs.schema import DONE, FAILED, PENDING
from sa2va_cli.jobs.store import CRASHED, HUNG, INTERRUPTED, JobStore, drop_unfinished
from sa2va_cli.media.discover import Problem
from sa2va_cli.media.item import MediaItem
from sa2va_cli.results import Failure

# So often the whole run was killed while the item was in work, and it never got further: then it
# is taken for the killer, because it may exhaust the machine.
MAX_INTERRUPTIONS = 5
KILLER = f"in work each of {MAX_INTERRUPTIONS} times that the run was killed"
VIDEO_COST = 50  # a byte of video is about so many times the work of a byte of picture

FOUND = """
CREATE TEMP TABLE found (
    item_id TEXT PRIMARY KEY, path BLOB, kind TEXT, size INTEGER, mtime_ns INTEGER,
    own TEXT, cost INTEGER, problem TEXT NOT NULL, replaced INTEGER NOT NULL, fate TEXT
) WITHOUT ROWID
"""
FATES = f"""
UPDATE found SET fate = coalesce((
    SELECT CASE
        WHEN found.problem != '' THEN
            CASE WHEN i.state = '{DONE}' AND NOT found.replaced THEN '{DONE}' ELSE 'problem' END
        WHEN (i.size, i.mtime_ns, i.kind, i.own)
            != (found.size, found.mtime_ns, found.kind, found.own) THEN 'changed'
        WHEN i.state = '{PENDING}' THEN 'left'
        WHEN :force OR (:retry_failed AND i.state = '{FAILED}') THEN 'again'
        ELSE i.state END
    FROM items AS i WHERE i.item_id = found.item_id
), CASE WHEN found.problem != '' THEN 'problem' ELSE 'new' END)
"""
RENEWED = "item_id IN (SELECT item_id FROM found WHERE fate IN ('changed', 'again', 'problem'))"
UNWANTED = f"""(
    state != '{DONE}' AND item NOT IN (SELECT item FROM checkpoints)
    AND item_id NOT IN (SELECT item_id FROM found)
)"""
TROUBLES = f"""
SELECT item, sum(outcome IN ('{CRASHED}', '{HUNG}')) AS blamed,
    sum(outcome = '{INTERRUPTED}') AS interrupted
FROM attempts GROUP BY item
"""
QUEUE = f"""
SELECT item, coalesce(blamed, 0) FROM found JOIN items USING (item_id)
LEFT JOIN ({TROUBLES}) USING (item)
WHERE state = '{PENDING}'
ORDER BY coalesce(blamed, 0) > 0, coalesce(interrupted, 0), cost DESC, item_id
"""


@dataclass(frozen=True, slots=True)
class Renewal:
    """Which finished items are to be done once more."""

    force: bool = False
    retry_failed: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How the found items stand."""

    new: int
    changed: int  # another size, time, prompt or region than when they were done
    again: int  # done or failed before, and asked for once more
    left: int  # found before, not done yet
    done: int
    failed: int  # before; not tried again
    problems: int  # cannot be used at all
    # Of these two: which failed just now, for what happened before or for what they are.
    news: tuple[Failure, ...] = ()

    @property
    def todo(self) -> int:
        return self.new + self.changed + self.again + self.left

    @property
    def total(self) -> int:
        return self.todo + self.done + self.failed + self.problems


@dataclass(frozen=True, slots=True)
class Queue:
    """Numbers of items in the store, in the order of work."""

    fresh: Sequence[int]  # largest first
    suspects: Sequence[int]  # a worker died over them before


def note_found(store: JobStore, items: Iterable[MediaItem], problems: Iterable[Problem]) -> None:
    """Lay what was found beside what is stored, in a table that lasts as long as the process."""
    connection = store.connection
    connection.execute("DROP TABLE IF EXISTS temp.found")
    connection.execute(FOUND)
    connection.execute("BEGIN")  # only the temporary file is written: the job's is not locked
    connection.executemany(
        "INSERT INTO found VALUES (?, ?, ?, ?, ?, ?, ?, '', FALSE, NULL)", map(_found_row, items)
    )
    connection.executemany(
        "INSERT OR REPLACE INTO found VALUES (?, ?, 'image', 0, 0, '', 0, ?, ?, NULL)",
        (
            (problem.item_id, _whole_path(problem.path), problem.reason, problem.replaced)
            for problem in problems
        ),
    )
    connection.execute("COMMIT")


def compare(store: JobStore, renewal: Renewal) -> Plan:
    """How things stand, without writing anything to the job's file."""
    _decide(store, renewal)
    return _count(store)


def _decide(store: JobStore, renewal: Renewal) -> None:
    renew = {"force": renewal.force, "retry_failed": renewal.retry_failed}
    store.connection.execute(FATES, renew)


def _count(store: JobStore) -> Plan:
    fates = dict(store.connection.execute("SELECT fate, count(*) FROM found GROUP BY fate"))
    return Plan(
        new=fates.get("new", 0),
        changed=fates.get("changed", 0),
        again=fates.get("again", 0),
        left=fates.get("left", 0),
        done=fates.get(DONE, 0),
        failed=fates.get(FAILED, 0),
        problems=fates.get("problem", 0),
    )


def apply(store: JobStore, renewal: Renewal) -> tuple[Plan, Queue]:
    """Write the plan down: what is to be done is pending, and no half item is left.

    Results of files that are no longer among the inputs stay, those of half a video too.
    """
    with store.writing() as connection:
        _decide(store, renewal)
        news = (*_settle_interrupted(store), *_new_problems(store, renewal))
        plan = replace(_count(store), news=news)
        for table in ("checkpoints", "attempts", "failures"):
            connection.execute(
                f"DELETE FROM {table} WHERE item IN "
                f"(SELECT item FROM items WHERE {RENEWED} OR {UNWANTED})"
            )
        again = f"item IN (SELECT item FROM items WHERE state != ? OR {RENEWED})"
        drop_unfinished(connection, again, (DONE,))
        connection.execute(f"DELETE FROM items WHERE {RENEWED} OR {UNWANTED}")
        _insert_found(connection)
    store.commit()
    fresh, suspects = array("q"), array("q")
    for item, blamed in store.connection.execute(QUEUE):
        (suspects if blamed else fresh).append(item)
    return plan, Queue(fresh, suspects)


def load_item(store: JobStore, item: int) -> MediaItem:
    query = "SELECT item_id, path, kind, size, mtime_ns, own FROM items WHERE item = ?"
    item_id, path, kind, size, mtime_ns, own = store.connection.execute(query, (item,)).fetchone()
    stored = json.loads(own) if own else []
    stored = stored["prompts"] if isinstance(stored, dict) else stored
    prompts = tuple(Prompt(*prompt) for prompt in stored)
    return MediaItem(item_id, os.fsdecode(path), kind, size, mtime_ns, prompts)


def _found_row(item: MediaItem) -> tuple[str, bytes, str, int, int, str, int]:
    cost = item.size * (1 if item.kind == "image" else VIDEO_COST)
    path = _whole_path(item.path)
    return (item.item_id, path, item.kind, item.size, item.mtime_ns, _own(item), cost)


def _own(item: MediaItem) -> str:
    """What else its result hangs on, besides its file and the settings of the job."""
    prompts = [[prompt.category, prompt.text] for prompt in item.prompts]
    if item.regions:
        return json.dumps({"prompts": prompts, "regions": item.regions})
    return json.dumps(prompts) if prompts else ""


def _whole_path(path: str) -> bytes:
    """Exports read the originals, and may be asked for in another working folder."""
    return os.fsencode(Path(path).absolute())


def _insert_found(connection: sqlite3.Connection) -> None:
    new = "fate IN ('new', 'changed', 'again', 'problem')"
    connection.execute(
        "INSERT INTO items (item_id, path, kind, size, mtime_ns, own, state) "
        "SELECT item_id, path, kind, size, mtime_ns, own, "
        f"CASE problem WHEN '' THEN ? ELSE ? END FROM found WHERE {new}",
        (PENDING, FAILED),
    )
    connection.execute(
        "INSERT INTO failures SELECT item, problem, 0 FROM found JOIN items USING (item_id) "
        "WHERE fate = 'problem'"
    )
    connection.execute(  # the folder may have moved, and exports show what is done
        "UPDATE items SET path = (SELECT path FROM found WHERE found.item_id = items.item_id) "
        "WHERE item_id IN (SELECT item_id FROM found JOIN items AS stored USING (item_id) "
        "WHERE problem = '' AND found.path != stored.path)"
    )


def _new_problems(store: JobStore, renewal: Renewal) -> tuple[Failure, ...]:
    """What cannot be used, unless an earlier run said so and nobody asked to try it again."""
    rows = store.connection.execute(
        "SELECT item_id, found.path, problem FROM found "
        "LEFT JOIN items USING (item_id) LEFT JOIN failures USING (item) "
        "WHERE fate = 'problem' AND (? OR reason IS NULL OR reason != problem) "
        "ORDER BY item_id",
        (renewal.force or renewal.retry_failed,),
    )
    return tuple(Failure(item_id, os.fsdecode(path), reason, 0) for item_id, path, reason in rows)


def _settle_interrupted(store: JobStore) -> tuple[Failure, ...]:
    """Attempts that a killed run left open; who is always there when runs die is given up.

    In this run it is not tried again, whatever was asked for: that was meant for those before.
    """
    connection = store.connection
    connection.execute("UPDATE attempts SET outcome = ? WHERE outcome IS NULL", (INTERRUPTED,))
    killers = connection.execute(
        f"SELECT item, item_id, found.path FROM ({TROUBLES}) JOIN items USING (item) "
        "JOIN found USING (item_id) WHERE fate = 'left' AND interrupted >= ? ORDER BY item_id",
        (MAX_INTERRUPTIONS,),
    ).fetchall()
    given_up = []
    for item, item_id, path in killers:
        attempts = store.fail(item, KILLER)
        connection.execute("UPDATE found SET fate = ? WHERE item_id = ?", (FAILED, item_id))
        given_up.append(Failure(item_id, os.fsdecode(path), KILLER, attempts))
    return tuple(given_up)
