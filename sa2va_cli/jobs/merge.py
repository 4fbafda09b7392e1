"""Unite the stores of several machines into one. SQLite copies; nothing passes through memory."""

import json
import os
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sa2va_cli.errors import JobError, JobLockedError, UsageError
from sa2va_cli.jobs.fingerprint import Settings, differences
from sa2va_cli.jobs.lock import JobLock, read_holder
from sa2va_cli.jobs.schema import (
    DONE,
    FAILED,
    ITEM_TABLES,
    PENDING,
    RESULT_TABLES,
    open_existing,
    store_path,
)
from sa2va_cli.jobs.settings import META_NAME, adopt_settings, check_settings
from sa2va_cli.jobs.status import job_folders, shard_folders
from sa2va_cli.jobs.store import JobStore

ITEM_COLUMNS = (
    "item_id, path, kind, size, mtime_ns, own, state, height, width, num_frames, fps, notes, frames"
)
RESULT_COLUMNS = {
    "answers": "prompt_idx, category, prompt, question, text, raw_text, presence",
    "objects": "obj_id, prompt_idx, category, label, seg_probability",
    "windows": "window, prompt_idx, frame_idx, text, raw_text, presence",
    "masks": "frame_idx, obj_id, height, width, counts, score, object_score",
    "attempts": "attempt, device, started, seconds, outcome, reason",
    "failures": "reason, attempts",
}
PAIRS = f"""
SELECT item_id, ours.item AS our_item, theirs.item AS their_item,
    (ours.size, ours.mtime_ns, ours.own) = (theirs.size, theirs.mtime_ns, theirs.own) AS same_file
FROM main.items AS ours JOIN source.items AS theirs USING (item_id)
WHERE ours.state = '{DONE}' AND theirs.state = '{DONE}'
"""
RANK = f"CASE %s.state WHEN '{DONE}' THEN 2 WHEN '{FAILED}' THEN 1 ELSE 0 END"


@dataclass(frozen=True, slots=True)
class Merged:
    """What the united store holds."""

    stores: int
    done: int
    failed: int
    left: int
    missing_shards: tuple[str, ...]  # named by the folders of others, and not there


def merge_jobs(folders: Sequence[Path], out: Path) -> Merged:
    """All items of all jobs, into `out`; an item that is done anywhere is done.

    Raises UsageError when the jobs were made with different settings or `out` holds shards,
    JobError when two jobs disagree about an item, JobLockedError when one of them is running.
    """
    if shard_folders(out):  # a job there would hide them: `job_folders` takes it for the whole
        raise UsageError(
            f"{out} holds parts of a job; the whole cannot lie there, too.",
            hint="give a new folder with -o",
        )
    sources = [source for folder in folders for source in job_folders(folder)]
    settings = _common_settings(sources)
    _check_sources(sources, out)
    with JobLock(out):
        store = JobStore.open(out)
        try:
            check_settings(store, settings, force=False, hint="give another output folder")
            adopt_settings(store, settings)
            store.commit()
            for source in sources:
                _take_in(store, source)
            return _report(store, sources)
        finally:
            store.close()


def _check_sources(sources: Sequence[Path], out: Path) -> None:
    for source in sources:
        if source.resolve() == out.resolve():
            raise UsageError(f"{out} cannot be merged into itself.", hint="give a new folder")
        if holder := read_holder(source):
            raise JobLockedError(
                f"{source} is still worked on by process {holder.pid} on {holder.host}.",
                hint="wait for it, or stop it: what it has done by then is merged",
            )


def _common_settings(sources: Sequence[Path]) -> Settings:
    first = _settings(sources[0])
    for source in sources[1:]:
        changes = differences(first, _settings(source))
        if changes:
            raise UsageError(
                f"{sources[0]} and {source} were made with different settings "
                f"({'; '.join(changes)}).",
                hint="merge only parts of one job",
            )
    return first


def _settings(source: Path) -> Settings:
    connection = open_existing(store_path(source))
    try:
        row = connection.execute("SELECT value FROM meta WHERE name = ?", (META_NAME,)).fetchone()
        return json.loads(row[0]) if row else {}
    finally:
        connection.close()


def _take_in(store: JobStore, source: Path) -> None:
    """All that one source has and the store has not, in one transaction."""
    connection = store.connection
    connection.execute("ATTACH DATABASE ? AS source", (os.fsencode(store_path(source)),))
    try:
        with store.writing():
            _check_agreement(connection, store.job_dir, source)
            _drop_lesser(connection)
            _copy_new(connection)
        store.commit()
    finally:
        if connection.in_transaction:
            connection.rollback()
        connection.execute("DETACH DATABASE source")


def _check_agreement(connection: sqlite3.Connection, out: Path, source: Path) -> None:
    row = connection.execute(f"SELECT item_id FROM ({PAIRS}) WHERE NOT same_file").fetchone()
    what = "was another file"
    for table in RESULT_TABLES:
        if row is None:
            columns = RESULT_COLUMNS[table]
            ours = f"SELECT {columns} FROM main.{table} WHERE item = pair.our_item"
            theirs = f"SELECT {columns} FROM source.{table} WHERE item = pair.their_item"
            row = connection.execute(
                f"SELECT item_id FROM ({PAIRS}) AS pair WHERE "
                f"EXISTS ({ours} EXCEPT {theirs}) OR EXISTS ({theirs} EXCEPT {ours})"
            ).fetchone()
            what = f"got other {table}"
    if row is not None:
        raise JobError(
            f"{row[0]} {what} in {source} than in the jobs merged before.",
            hint="merge it into a folder of its own, or do that item again",
        )


def _drop_lesser(connection: sqlite3.Connection) -> None:
    """Done beats failed beats not done."""
    connection.execute(
        "CREATE TEMP TABLE lesser AS SELECT ours.item FROM main.items AS ours "
        "JOIN source.items AS theirs USING (item_id) "
        f"WHERE {RANK % 'theirs'} > {RANK % 'ours'}"
    )
    for table in (*ITEM_TABLES, "items"):
        connection.execute(f"DELETE FROM main.{table} WHERE item IN (SELECT item FROM lesser)")
    connection.execute("DROP TABLE lesser")


def _copy_new(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TEMP TABLE fresh AS SELECT item_id FROM source.items "
        "WHERE item_id NOT IN (SELECT item_id FROM main.items)"
    )
    connection.execute(
        f"INSERT INTO main.items ({ITEM_COLUMNS}) SELECT {ITEM_COLUMNS} FROM source.items "
        "WHERE item_id IN (SELECT item_id FROM fresh) ORDER BY item_id"
    )
    connection.execute(
        "CREATE TEMP TABLE numbers AS SELECT theirs.item AS their_item, ours.item AS our_item, "
        "ours.state AS state FROM fresh JOIN main.items AS ours USING (item_id) "
        "JOIN source.items AS theirs USING (item_id)"
    )
    for table, columns in RESULT_COLUMNS.items():
        connection.execute(  # rows of an item that is not done are leftovers of a killed run
            f"INSERT INTO main.{table} (item, {columns}) SELECT our_item, {columns} "
            f"FROM numbers JOIN source.{table} ON item = their_item WHERE state = ? OR ?",
            (DONE, table in ("attempts", "failures")),
        )
    connection.execute("DROP TABLE fresh")
    connection.execute("DROP TABLE numbers")


def _report(store: JobStore, sources: Sequence[Path]) -> Merged:
    counts = dict(store.connection.execute("SELECT state, count(*) FROM items GROUP BY state"))
    return Merged(
        len(sources),
        counts.get(DONE, 0),
        counts.get(FAILED, 0),
        counts.get(PENDING, 0),
        _missing_shards(sources),
    )


def _missing_shards(sources: Sequence[Path]) -> tuple[str, ...]:
    named = {source.name for source in sources}
    expected = {
        f"shard-{number:03d}-of-{match[1]}"
        for name in named
        if (match := re.fullmatch(r"shard-\d{3}-of-(\d{3})", name))
        for number in range(1, int(match[1]) + 1)
    }
    return tuple(sorted(expected - named))
