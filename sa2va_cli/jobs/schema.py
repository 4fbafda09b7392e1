"""The tables of a job's SQLite file, and how the file is opened.

A rollback journal (no WAL) keeps the file safe on network disks. There is one writer.
Only rows of items in state 'done' count: what a killed run left of an item is never read.
"""

import os
import sqlite3
from pathlib import Path

from sa2va_cli.errors import JobError

STORE_NAME = "job.sqlite"
SCHEMA_VERSION = 3
APPLICATION_ID = 0x5A25A000  # tells our files from other SQLite files
BUSY_SECONDS = 60.0  # a writer holds the file for a moment only, but disks can be slow

PENDING, DONE, FAILED = "pending", "done", "failed"

RESULT_TABLES = ("answers", "objects", "windows", "masks")
ITEM_TABLES = (*RESULT_TABLES, "checkpoints", "attempts", "failures")
TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE items (
    item INTEGER PRIMARY KEY,
    item_id TEXT NOT NULL UNIQUE,
    path BLOB NOT NULL,           -- as the file system spells it
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    own TEXT NOT NULL,            -- JSON: what is asked of this item alone; '' is the job's prompts
    state TEXT NOT NULL DEFAULT 'pending',
    height INTEGER, width INTEGER, num_frames INTEGER, fps REAL,
    notes TEXT NOT NULL DEFAULT '[]',
    frames TEXT NOT NULL DEFAULT '[]'  -- JSON: runs of [first, step, count] that were looked at
);

CREATE TABLE answers (
    item INTEGER NOT NULL, prompt_idx INTEGER NOT NULL,
    category TEXT NOT NULL, prompt TEXT NOT NULL, question TEXT NOT NULL,
    text TEXT NOT NULL, raw_text TEXT NOT NULL,
    presence REAL,                -- probability that it is there; NULL: not asked
    PRIMARY KEY (item, prompt_idx)
) WITHOUT ROWID;

CREATE TABLE objects (
    item INTEGER NOT NULL, obj_id INTEGER NOT NULL, prompt_idx INTEGER NOT NULL,
    category TEXT NOT NULL, label TEXT NOT NULL, seg_probability REAL NOT NULL,
    PRIMARY KEY (item, obj_id)
) WITHOUT ROWID;

CREATE TABLE masks (
    item INTEGER NOT NULL, frame_idx INTEGER NOT NULL, obj_id INTEGER NOT NULL,
    height INTEGER NOT NULL, width INTEGER NOT NULL, counts TEXT NOT NULL,
    score REAL NOT NULL, object_score REAL NOT NULL,
    PRIMARY KEY (item, frame_idx, obj_id)
) WITHOUT ROWID;

CREATE TABLE windows (            -- of videos in windows: what was said at each
    item INTEGER NOT NULL, window INTEGER NOT NULL, prompt_idx INTEGER NOT NULL,
    frame_idx INTEGER NOT NULL,   -- the window's first
    text TEXT NOT NULL, raw_text TEXT NOT NULL, presence REAL,
    PRIMARY KEY (item, window, prompt_idx)
) WITHOUT ROWID;

CREATE TABLE checkpoints (        -- of videos in work: masks before frame_idx are there to stay
    item INTEGER PRIMARY KEY, frame_idx INTEGER NOT NULL,
    records TEXT NOT NULL, state BLOB NOT NULL
);

CREATE TABLE attempts (           -- outcome NULL: in work, or the run was killed meanwhile
    item INTEGER NOT NULL, attempt INTEGER NOT NULL,
    device TEXT NOT NULL, started REAL NOT NULL, seconds REAL, outcome TEXT, reason TEXT,
    PRIMARY KEY (item, attempt)
) WITHOUT ROWID;

CREATE TABLE failures (item INTEGER PRIMARY KEY, reason TEXT NOT NULL, attempts INTEGER NOT NULL);
"""


def store_path(job_dir: Path) -> Path:
    return job_dir / STORE_NAME


def holds_job(folder: Path) -> bool:
    """Also for names that no folder can have, about which `Path.is_file` raises."""
    return os.path.isfile(store_path(folder))


def create_or_open(path: Path) -> sqlite3.Connection:
    """The file for writing. A new one is there with all its tables, for those who look on."""
    if not path.exists() or not path.stat().st_size:
        temporary = path.with_name(f".{path.name}.tmp")
        for left_by_a_kill in (temporary, path.with_name(f"{temporary.name}-journal")):
            left_by_a_kill.unlink(missing_ok=True)
        create(temporary).close()
        temporary.replace(path)
    connection = _connect(path)
    connection.execute("PRAGMA synchronous = FULL")
    _check_version(connection, path)
    return connection


def create(path: Path | str) -> sqlite3.Connection:
    """An empty store, in a new file or in memory."""
    connection = _connect(path)
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(
        f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID};"
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )
    return connection


def open_existing(path: Path) -> sqlite3.Connection:
    """The file for reading, also while a run writes to it.

    Raises JobError when there is none, or when another version of the program wrote it.
    """
    if not holds_job(path.parent):
        raise JobError(f"{path.parent} holds no job.", hint="give the folder that annotate wrote")
    connection = _connect(path)
    _check_version(connection, path)
    return connection


def set_wait(connection: sqlite3.Connection, seconds: float) -> None:
    """How long SQLite itself waits, inside of a statement, for who has locked the file."""
    connection.execute(f"PRAGMA busy_timeout = {round(1000 * seconds)}")


def is_busy(error: sqlite3.DatabaseError) -> bool:
    """Somebody else's lock is in the way, of whatever kind. Python's own errors have no code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _connect(path: Path | str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA journal_mode = DELETE")  # also finds files that are no database
    except sqlite3.DatabaseError as error:
        if is_busy(error):
            raise JobError(
                f"{path} has been locked by another program for {BUSY_SECONDS:g} s.",
                hint="end what holds it (`fuser` names it), or wait for it",
            ) from error
        raise JobError(f"Cannot open {path}: {error}.", hint="is the disk writable?") from error
    return connection


def _check_version(connection: sqlite3.Connection, path: Path | str) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application_id != APPLICATION_ID:
        raise JobError(f"{path} is not a job of sa2va.", hint="give another output folder")
    if version != SCHEMA_VERSION:
        raise JobError(
            f"{path} has layout {version}, this version of sa2va reads layout {SCHEMA_VERSION}.",
            hint="use the version that made it, or another output folder",
        )
