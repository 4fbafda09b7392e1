import shutil
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sa2va_cli.errors import JobError
from sa2va_cli.jobs import schema
from sa2va_cli.jobs.plan import Renewal, apply, note_found
from sa2va_cli.jobs.reader import PAGE_ROWS, StoreReader
from sa2va_cli.jobs.store import CRASHED, JobStore
from sa2va_cli.media.discover import Problem
from sa2va_cli.media.item import MediaItem
from sa2va_cli.results import AnswerRecord, ItemResult, MaskRecord, ObjectRecord


def media(item_id: str) -> MediaItem:
    return MediaItem(item_id, f"/in/{item_id}", "image", 10, 20)


def result(item_id: str) -> ItemResult:
    return ItemResult(
        item_id, f"/in/{item_id}", "image", 4, 6,
        answers=(AnswerRecord(0, "car", "the car", "<image>the car", "Sure.", "Sure, [SEG]."),),
        objects=(ObjectRecord(1, 0, "car", "the car", 0.1),), notes=("first of 2 frames",),
    )  # fmt: skip


def mask(frame_idx: int, obj_id: int = 1) -> MaskRecord:
    return MaskRecord(frame_idx, obj_id, {"size": [4, 6], "counts": "07A1"}, 0.3, 1 / 3)


@pytest.fixture
def store(tmp_path):
    """Items a, b and c, none of them done; a is number 1."""
    store = JobStore.open(tmp_path)
    note_found(store, [media(name) for name in "abc"], [])
    apply(store, Renewal())
    yield store
    store.close()


def test_what_was_finished_is_read_again_exactly(store, tmp_path):
    store.begin(1, "cpu")
    store.add_masks(1, [mask(0)])
    store.finish(1, result("a"))
    store.commit()
    with StoreReader(tmp_path) as reader:
        assert list(reader.items()) == [result("a")]
        assert reader.item(1) == result("a")
        assert list(reader.masks("a")) == [mask(0)]


def test_masks_of_an_unfinished_item_are_not_seen_and_are_swept_away(store, tmp_path):
    store.begin(1, "cpu")
    store.add_masks(1, [mask(0), mask(1)])
    store.commit()
    with StoreReader(tmp_path) as reader:
        assert (list(reader.items()), list(reader.masks("a"))) == ([], [])
    note_found(store, [media("a")], [])
    apply(store, Renewal())
    assert store.connection.execute("SELECT count(*) FROM masks").fetchone() == (0,)


def test_what_was_not_committed_is_not_seen(store, tmp_path):
    store.begin(1, "cpu")
    store.finish(1, result("a"))
    with StoreReader(tmp_path) as reader:
        assert list(reader.items()) == []


def test_more_rows_than_a_page_are_read_in_order(store, tmp_path):
    frames = PAGE_ROWS + 3
    store.begin(1, "cpu")
    store.add_masks(1, [mask(f, o) for f in reversed(range(frames)) for o in (2, 1)])
    store.finish(1, result("a"))
    store.commit()
    with StoreReader(tmp_path) as reader:
        read = [(m.frame_idx, m.obj_id) for m in reader.masks("a")]
    assert read == [(f, o) for f in range(frames) for o in (1, 2)]


def test_a_reader_in_the_middle_of_a_page_does_not_hold_up_the_writer(store, tmp_path):
    for item in (1, 2):
        store.begin(item, "cpu")
        store.finish(item, result("ab"[item - 1]))
    store.commit()
    with StoreReader(tmp_path) as reader:
        next(reader.items())
        store.begin(3, "cpu")
        store.commit()


def test_what_is_done_anew_while_others_are_read_is_read_as_it_is_then(store, tmp_path):
    for item, name in enumerate("abc", 1):
        store.begin(item, "cpu")
        store.add_masks(item, [mask(0)])
        store.finish(item, result(name))
    store.commit()
    with StoreReader(tmp_path) as reader:
        items = reader.items()
        assert next(items) == result("a")
        anew = replace(result("c"), objects=(ObjectRecord(7, 0, "car", "car", 1.0),))
        note_found(store, [replace(media(name), size=11) for name in "bc"], [])  # changed
        apply(store, Renewal())
        store.begin(3, "cpu")
        store.add_masks(3, [mask(0, 7)])
        store.finish(3, anew)
        store.commit()
        assert list(items) == [anew]
        assert [one.obj_id for one in reader.masks("c")] == [7]


def test_who_reads_for_long_is_waited_for(store, tmp_path):
    """Also where more is to be written than SQLite likes to hold: it would wait at each page."""
    waited = []

    def while_busy(seconds):
        waited.append(seconds)
        if seconds > 0.2:
            cursor.close()

    reader = sqlite3.connect(tmp_path / "job.sqlite")
    cursor = reader.execute("SELECT * FROM items")
    cursor.fetchone()
    patient = JobStore.open(tmp_path, while_busy=while_busy)
    patient.begin(1, "cpu")
    started = time.monotonic()
    patient.add_masks(1, (mask(frame) for frame in range(100_000)))
    assert time.monotonic() - started < 20
    patient.finish(1, result("a"))
    patient.commit()
    patient.close()
    reader.close()
    assert len(waited) > 2
    with StoreReader(tmp_path) as again:
        assert list(again.items()) == [result("a")]


def test_who_writes_there_is_waited_for_too(store, tmp_path):
    other = sqlite3.connect(tmp_path / "job.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    patient = JobStore.open(tmp_path, while_busy=lambda seconds: other.rollback())
    patient.begin(1, "cpu")
    patient.close()
    other.close()


def test_reading_between_transactions_waits_for_who_has_locked_the_file(store, tmp_path):
    """As a reader does for a moment, when it finds what may be a killed run's journal."""
    store.set_meta("a", "b")
    store.commit()
    path = tmp_path / "job.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    letting_go = threading.Timer(0.3, other.rollback)
    letting_go.start()
    assert store.meta("a") == "b"
    letting_go.join()
    other.close()


def test_a_file_that_stays_locked_is_told_from_one_that_is_damaged(store, tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.1)
    other = sqlite3.connect(tmp_path / "job.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JobError, match="locked by another program"):
        StoreReader(tmp_path)
    other.close()


def test_attempts_that_broke_workers_are_counted_over_runs(store, tmp_path):
    store.begin(1, "cpu")
    store.give_back(1, CRASHED, "killed")
    store.commit()
    again = JobStore.open(tmp_path)
    assert again.blamed(1) == 1
    again.begin(1, "cpu")
    assert again.fail(1, "killed", CRASHED) == 2
    again.close()


def test_names_that_are_no_unicode_survive(tmp_path):
    path = b"/in/caf\xe9.png".decode("utf-8", "surrogateescape")
    store = JobStore.open(tmp_path)
    note_found(store, [], [Problem("caf%E9.png", path, "cannot be read")])
    apply(store, Renewal())
    store.close()
    with StoreReader(tmp_path) as reader:
        assert next(reader.failures()).path == path


def test_another_file_in_the_place_of_the_store_is_left_alone(tmp_path):
    (tmp_path / "job.sqlite").write_bytes(b"not a database, but long enough to look at" * 30)
    with pytest.raises(JobError, match=r"Cannot open .*not a database"):
        JobStore.open(tmp_path)


def test_a_folder_that_was_removed_while_it_was_in_use_is_called_gone(tmp_path):
    store = JobStore.open(tmp_path / "job")
    shutil.rmtree(tmp_path / "job")
    with pytest.raises(JobError, match=r"job is gone: it was removed or moved while"):
        store.set_meta("a", "b")
        store.commit()
    store.close()


def test_a_store_of_another_layout_is_refused(store, tmp_path):
    store.connection.execute("PRAGMA user_version = 999")
    with pytest.raises(JobError, match="has layout 999"):
        StoreReader(tmp_path)


def test_somebody_elses_sqlite_file_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / "job.sqlite")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(JobError, match="is not a job of sa2va"):
        JobStore.open(tmp_path)


def test_who_looks_on_never_sees_half_a_store(tmp_path):
    def look_on(path):
        while not path.exists():
            pass
        return StoreReader(path.parent).close()

    with ThreadPoolExecutor(1) as looker:
        for number in range(20):
            looking = looker.submit(look_on, tmp_path / str(number) / "job.sqlite")
            JobStore.open(tmp_path / str(number)).close()
            looking.result(60)


def test_what_a_kill_left_of_a_new_store_is_swept_away(tmp_path):
    for name in (".job.sqlite.tmp", ".job.sqlite.tmp-journal", "job.sqlite"):
        (tmp_path / name).touch()
    JobStore.open(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["job.sqlite"]


def test_a_folder_without_a_store_is_no_job(tmp_path):
    with pytest.raises(JobError, match="holds no job"):
        StoreReader(tmp_path)


def test_nothing_is_committed_once_the_folder_is_somebody_elses(tmp_path):
    def guard():
        raise JobError("taken over")

    store = JobStore.open(tmp_path, guard)
    store.set_meta("a", "b")
    with pytest.raises(JobError, match="taken over"):
        store.commit()
    store.close()


def test_dropping_rows_is_part_of_the_transaction_and_asks_the_guard(tmp_path):
    def guard():
        if lost:
            raise JobError("taken over")

    lost = []
    store = JobStore.open(tmp_path, guard)
    note_found(store, [media("a")], [])
    apply(store, Renewal())
    store.add_masks(1, [mask(0)])
    store.commit()
    lost.append(True)
    store.drop_rows(1)
    with pytest.raises(JobError, match="taken over"):
        store.commit()
    store.close()
    store = JobStore.open(tmp_path)
    assert store.connection.execute("SELECT count(*) FROM masks").fetchone() == (1,)
    store.connection.execute("PRAGMA query_only = ON")  # as a disk that takes no more
    with pytest.raises(JobError, match="Cannot write to"):
        store.drop_rows(1)
    store.close()
