import io
from dataclasses import replace

import pytest

from sa2va_cli.config import Prompt
from sa2va_cli.jobs.lock import JobLock
from sa2va_cli.jobs.messages import Checkpoint
from sa2va_cli.jobs.plan import (
    INTERRUPTED,
    MAX_INTERRUPTIONS,
    Queue,
    Renewal,
    apply,
    compare,
    load_item,
    note_found,
)
from sa2va_cli.jobs.progress import QuietView
from sa2va_cli.jobs.reader import StoreReader
from sa2va_cli.jobs.stop import StopSignals
from sa2va_cli.jobs.store import CRASHED, JobStore
from sa2va_cli.media.discover import Problem
from sa2va_cli.media.item import MediaItem
from sa2va_cli.results import Failure, ItemResult, MaskRecord
from sa2va_cli.runners.job import prepare, run
from tests.jobs.runs import job, run_job
from tests.jobs.tiny import TinySource, write_pictures

A = MediaItem("a.png", "/in/a.png", "image", 100, 1)
B = MediaItem("b.png", "/in/b.png", "image", 300, 2)
C = MediaItem("c.mp4", "/in/c.mp4", "video", 50, 3)


@pytest.fixture
def store(tmp_path):
    store = JobStore.open(tmp_path)
    yield store
    store.close()


def plan(store, items, problems=(), **renewal) -> tuple[dict[str, int], list[str]]:
    """The counts that are not 0, and the ids of what is to be done in order."""
    note_found(store, items, problems)
    counts, queue = apply(store, Renewal(**renewal))
    names = {name: getattr(counts, name) for name in counts.__dataclass_fields__}
    todo = [load_item(store, item).item_id for item in (*queue.fresh, *queue.suspects)]
    return {name: count for name, count in names.items() if count}, todo


def finish(store, *item_ids: str) -> None:
    for number, item_id in store.connection.execute("SELECT item, item_id FROM items").fetchall():
        if item_id in item_ids:
            store.begin(number, "cpu")
            store.finish(number, ItemResult(item_id, "", "image", 1, 1))
    store.commit()


def number_of(store, item_id: str) -> int:
    query = "SELECT item FROM items WHERE item_id = ?"
    return store.connection.execute(query, (item_id,)).fetchone()[0]


def test_new_items_come_largest_first_and_videos_before_pictures(store):
    assert plan(store, [A, B, C]) == ({"new": 3}, ["c.mp4", "b.png", "a.png"])


def test_done_items_stay_done_and_new_ones_are_added(store):
    plan(store, [A])
    finish(store, "a.png")
    assert plan(store, [A, B]) == ({"new": 1, "done": 1}, ["b.png"])


@pytest.mark.parametrize(
    "changed",
    [
        replace(A, size=101),
        replace(A, mtime_ns=5),
        replace(A, prompts=(Prompt("dog", "a dog"),)),
        replace(A, kind="frames"),
    ],
)
def test_a_changed_file_is_done_again_and_its_old_results_are_gone(store, changed, tmp_path):
    plan(store, [A])
    finish(store, "a.png")
    assert plan(store, [changed]) == ({"changed": 1}, ["a.png"])
    with StoreReader(tmp_path) as reader:
        assert list(reader.items()) == []


def test_a_moved_folder_is_the_same_job(store):
    plan(store, [A, B])
    finish(store, "a.png")
    moved = [replace(item, path=item.path.replace("/in", "/moved")) for item in (A, B)]
    assert plan(store, moved) == ({"left": 1, "done": 1}, ["b.png"])
    for name in ("a.png", "b.png"):
        assert load_item(store, number_of(store, name)).path == f"/moved/{name}"


def test_a_path_is_stored_whole_because_exports_may_start_elsewhere(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan(store, [replace(A, path="in/../in/a.png")], [Problem("b.png", "in/b.png", "gone")])
    paths = [load_item(store, number_of(store, name)).path for name in ("a.png", "b.png")]
    # ".." stays: behind a link it is not what it seems
    assert paths == [f"{tmp_path}/in/../in/a.png", f"{tmp_path}/in/b.png"]


def test_results_of_files_that_are_gone_stay(store, tmp_path):
    plan(store, [A, B])
    finish(store, "a.png")
    assert plan(store, [C]) == ({"new": 1}, ["c.mp4"])
    with StoreReader(tmp_path) as reader:
        assert [item.item_id for item in reader.items()] == ["a.png"]
    assert plan(store, [B])[0] == {"new": 1}, "b was never done, and was forgotten"


def test_half_a_video_waits_until_it_is_named_again(store):
    plan(store, [A, C])
    number = number_of(store, "c.mp4")
    store.begin(number, "cpu")
    store.add_masks(
        number, [MaskRecord(n, 1, {"size": [4, 6], "counts": "07A1"}, 1, 1) for n in (0, 9)]
    )
    store.reach(number, Checkpoint(5, "[]", b"state"))
    store.commit()
    assert plan(store, [A]) == ({"left": 1}, ["a.png"])
    assert plan(store, [C]) == ({"left": 1}, ["c.mp4"])
    assert store.checkpoint(number) == Checkpoint(5, "[]", b"state")
    assert store.connection.execute("SELECT frame_idx FROM masks").fetchall() == [(0,)]
    assert plan(store, [replace(C, size=51)]) == ({"changed": 1}, ["c.mp4"])
    assert store.connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)


def test_failed_items_are_tried_again_only_when_asked(store):
    plan(store, [A])
    store.fail(number_of(store, "a.png"), "broken")
    store.commit()
    assert plan(store, [A]) == ({"failed": 1}, [])
    assert plan(store, [A], retry_failed=True) == ({"again": 1}, ["a.png"])


def test_force_does_everything_again(store):
    plan(store, [A, B])
    finish(store, "a.png", "b.png")
    assert plan(store, [A, B], force=True) == ({"again": 2}, ["b.png", "a.png"])
    assert plan(store, [A, B], force=True) == ({"left": 2}, ["b.png", "a.png"])


def test_a_problem_is_a_failure_until_it_is_solved(store, tmp_path):
    problem = Problem("a.png", "/in/a.png", "Permission denied")
    news = (Failure("a.png", "/in/a.png", "Permission denied", 0),)
    assert plan(store, [], [problem]) == ({"problems": 1, "news": news}, [])
    assert plan(store, [], [problem]) == ({"problems": 1}, []), "an old failure is told once"
    for again in ({"retry_failed": True}, {"force": True}):
        assert plan(store, [], [problem], **again) == ({"problems": 1, "news": news}, [])
    other = replace(problem, reason="it is empty")
    assert plan(store, [], [other])[0]["news"][0].reason == "it is empty"
    assert plan(store, [], [problem])[0]["news"] == news
    with StoreReader(tmp_path) as reader:
        assert [failure.reason for failure in reader.failures()] == ["Permission denied"]
    assert plan(store, [A]) == ({"changed": 1}, ["a.png"])


def test_a_problem_does_not_destroy_what_is_done(store):
    plan(store, [A])
    finish(store, "a.png")
    assert plan(store, [], [Problem("a.png", "/in/a.png", "gone")]) == ({"done": 1}, [])


def test_a_file_that_holds_no_picture_any_more_is_not_done(tmp_path):
    config = job(tmp_path, devices="cpu", runner="local")
    emptied, replaced, gone, kept = write_pictures(tmp_path / "in", 4)
    assert run_job(config).done == 4
    emptied.write_bytes(b"")
    replaced.write_text("<html>404 Not Found</html>")
    gone.unlink()
    assert run_job(config).all_failed == 2
    with StoreReader(config.output) as reader:
        ids = [item.item_id for item in reader.items()]
        failures = {failure.item_id: failure.reason for failure in reader.failures()}
    assert ids == [gone.name, kept.name]
    assert failures == {
        emptied.name: "it is empty (0 bytes)",
        replaced.name: "it is named .png, but holds text",
    }


def test_who_killed_a_worker_before_is_tried_last_and_alone(store):
    plan(store, [A, B])
    number = number_of(store, "b.png")
    store.begin(number, "cpu")
    store.give_back(number, CRASHED, "killed")
    store.commit()
    note_found(store, [A, B], [])
    assert apply(store, Renewal())[1].suspects.tolist() == [number]


def test_items_in_work_when_the_run_was_killed_come_later_and_are_given_up_in_the_end(store):
    plan(store, [A, B])
    for _ in range(MAX_INTERRUPTIONS):
        store.begin(number_of(store, "b.png"), "cpu")
        store.commit()
        counts, todo = plan(store, [A, B], retry_failed=True)
    assert todo == ["a.png"]
    (failure,) = counts.pop("news")
    assert (failure.item_id, failure.path) == ("b.png", "/in/b.png")
    assert counts == {"left": 1, "failed": 1}
    query = "SELECT DISTINCT outcome FROM attempts"
    assert store.connection.execute(query).fetchall() == [(INTERRUPTED,)]
    assert plan(store, [A, B])[0] == {"left": 1, "failed": 1}
    assert plan(store, [A, B], retry_failed=True)[0] == {"left": 1, "again": 1}


def test_the_run_that_gives_an_item_up_says_so(tmp_path):
    write_pictures(tmp_path / "in", 2)
    prepared = prepare(job(tmp_path, devices="cpu", runner="local"), TinySource())
    store = JobStore.open(prepared.job_dir)
    for _ in range(MAX_INTERRUPTIONS):  # as runs that were killed leave it
        plan(store, prepared.found.items)
        store.begin(1, "cpu")
        store.commit()
    store.close()
    told = io.StringIO()
    with JobLock(prepared.job_dir) as lock:
        state = run(prepared, lock, QuietView(told), StopSignals())
    assert (state.done, state.all_failed, state.left) == (1, 1, 0)
    assert told.getvalue() == "failed: 00000.png: in work each of 5 times that the run was killed\n"


def test_one_interruption_only_changes_the_order(store):
    plan(store, [A, B])
    store.begin(number_of(store, "b.png"), "cpu")
    store.commit()
    assert plan(store, [A, B])[1] == ["a.png", "b.png"]


def test_looking_writes_nothing(tmp_path):
    store = JobStore.peek(tmp_path / "none")
    note_found(store, [A], [])
    assert compare(store, Renewal()).new == 1
    store.close()
    assert not (tmp_path / "none").exists()


def test_an_empty_queue_is_empty():
    assert Queue((), ()).fresh == ()
