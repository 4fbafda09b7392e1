import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from sa2va_cli.config import Shard, parse_shard
from sa2va_cli.errors import JobError, JobLockedError, UsageError
from sa2va_cli.jobs.lock import JobLock
from sa2va_cli.jobs.merge import merge_jobs
from sa2va_cli.jobs.plan import Renewal, apply, note_found
from sa2va_cli.jobs.reader import PAGE_ROWS
from sa2va_cli.jobs.shard import in_shard, shard_of
from sa2va_cli.jobs.status import job_folders, job_status
from sa2va_cli.jobs.store import JobStore
from sa2va_cli.media.item import MediaItem
from sa2va_cli.results import ItemResult, MaskRecord
from tests.jobs.runs import PROMPTS, job, results, run_job, sa2va
from tests.jobs.tiny import write_pictures, write_poison


@pytest.fixture
def shards(tmp_path):
    """A job of 12 pictures and one failure in two shards of tmp_path/fleet; the whole in one."""
    write_pictures(tmp_path / "in", 12)
    write_poison(tmp_path / "in/oom.png", "oom")
    config = job(tmp_path, devices="cpu", runner="local", output=tmp_path / "fleet")
    for shard in ("1/2", "2/2"):
        run_job(replace(config, shard=shard))
    run_job(replace(config, output=tmp_path / "whole"))
    return config


def test_the_parts_united_are_the_whole(shards, tmp_path):
    merged = merge_jobs([tmp_path / "fleet"], tmp_path / "all")
    assert (merged.stores, merged.done, merged.failed, merged.left) == (2, 12, 1, 0)
    assert merged.missing_shards == ()
    assert results(tmp_path / "all") == results(tmp_path / "whole")


def test_merging_twice_changes_nothing(shards, tmp_path):
    for _ in range(2):
        merge_jobs([tmp_path / "fleet"], tmp_path / "all")
    assert results(tmp_path / "all") == results(tmp_path / "whole")


def test_a_merged_job_can_be_resumed(shards, tmp_path):
    merge_jobs([tmp_path / "fleet"], tmp_path / "all")
    state = run_job(replace(shards, output=tmp_path / "all"))
    assert (state.done, state.done_before) == (0, 12)


def test_a_part_that_is_missing_is_named(shards, tmp_path):
    part = job_folders(tmp_path / "fleet")[0]
    assert merge_jobs([part], tmp_path / "all").missing_shards == ("shard-002-of-002",)


def test_done_wins_over_failed(shards, tmp_path):
    write_pictures(tmp_path / "other", 1)[0].rename(tmp_path / "in/oom.png")
    run_job(replace(shards, output=tmp_path / "later"))
    assert merge_jobs([tmp_path / "whole", tmp_path / "later"], tmp_path / "all").failed == 0


def test_jobs_that_disagree_about_a_file_are_not_merged(shards, tmp_path):
    write_pictures(tmp_path / "other", 2)[1].rename(tmp_path / "in/00000.png")
    run_job(replace(shards, output=tmp_path / "later"))
    with pytest.raises(JobError, match=r"00000\.png was another file in .*later"):
        merge_jobs([tmp_path / "whole", tmp_path / "later"], tmp_path / "all")


@pytest.mark.parametrize("first", ["whole", "more"])
def test_a_part_with_more_objects_disagrees_whichever_comes_first(shards, tmp_path, first):
    shutil.copytree(tmp_path / "whole", tmp_path / "more")
    with sqlite3.connect(tmp_path / "more" / "job.sqlite") as store:
        store.execute("INSERT INTO objects VALUES (1, 99, 0, 'car', 'the red car', 0.5)")
    store.close()
    folders = sorted([tmp_path / "whole", tmp_path / "more"], key=lambda path: path.name != first)
    with pytest.raises(JobError, match="got other objects"):
        merge_jobs(folders, tmp_path / "all")


def test_jobs_with_other_settings_are_not_merged(shards, tmp_path):
    run_job(replace(shards, output=tmp_path / "other", prompts=PROMPTS[:1]))
    with pytest.raises(UsageError, match=r"different settings.*prompts: "):
        merge_jobs([tmp_path / "whole", tmp_path / "other"], tmp_path / "all")


def test_into_a_job_with_other_settings_nothing_is_merged(shards, tmp_path):
    run_job(replace(shards, output=tmp_path / "other", prompts=PROMPTS[:1]))
    with pytest.raises(UsageError, match="other settings") as raised:
        merge_jobs([tmp_path / "whole"], tmp_path / "other")
    assert str(raised.value).endswith("\nHint: give another output folder")  # no --force here


def test_a_part_that_is_worked_on_is_not_merged(shards, tmp_path):
    with JobLock(tmp_path / "whole"), pytest.raises(JobLockedError, match="still worked on"):
        merge_jobs([tmp_path / "whole"], tmp_path / "all")


def test_a_job_is_not_merged_into_itself(shards, tmp_path):
    with pytest.raises(UsageError, match="into itself"):
        merge_jobs([tmp_path / "whole"], tmp_path / "whole")


def test_the_whole_does_not_go_where_the_parts_are(shards, tmp_path):
    with pytest.raises(UsageError, match="holds parts of a job"):
        merge_jobs([tmp_path / "fleet"], tmp_path / "fleet")
    assert len(job_folders(tmp_path / "fleet")) == 2


def test_the_command_exports_the_whole(shards, tmp_path):
    run = sa2va("merge", tmp_path / "fleet", "-o", tmp_path / "all")
    assert run.returncode == 0, run.stderr
    assert "2 parts united" in run.stderr
    coco = json.loads((tmp_path / "all/annotations.json").read_text())
    assert len(coco["images"]) == 12


def test_status_counts_masks_of_more_items_than_a_page(tmp_path):
    names = [f"{number:04d}" for number in range(PAGE_ROWS + 2)]
    with closing(JobStore.open(tmp_path)) as store:
        note_found(store, [MediaItem(name, name, "image", 1, 1) for name in names], [])
        apply(store, Renewal())
        record = MaskRecord(0, 1, {"size": [4, 6], "counts": "07A1"}, 0.3, 0.3)
        for number, name in enumerate(names[1:], 2):
            store.add_masks(number, [record] * (number % 2))
            store.finish(number, ItemResult(name, name, "image", 4, 6, answers=(), objects=()))
        store.add_masks(1, [record])
        store.commit()
    assert job_status(tmp_path).masks == (PAGE_ROWS + 1) // 2, "those of item 1 are not done"


def test_status_of_a_fleet_sums_its_shards(shards, tmp_path):
    statuses = [job_status(folder) for folder in job_folders(tmp_path / "fleet")]
    assert sum(status.done for status in statuses) == 12
    run = sa2va("status", tmp_path / "fleet", "--json")
    assert json.loads(run.stdout)["done"] == 12


def test_every_item_is_in_one_shard_and_stays_there_when_files_are_added():
    items = [MediaItem(f"{i}.png", "", "image", 0, 0) for i in range(400)]
    parts = [in_shard(items, Shard(number, 4)) for number in (1, 2, 3, 4)]
    assert sorted(item.item_id for part in parts for item in part) == sorted(
        item.item_id for item in items
    )
    assert all(60 < len(part) < 140 for part in parts)
    assert shard_of("7.png", 4) == shard_of("7.png", 4)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "a/b", "1/2/3", "-1/2", "1/1000"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UsageError, match="is not a part of a job"):
        parse_shard(text)


def test_a_shard_has_a_folder_of_its_own():
    assert parse_shard("2/12").folder == "shard-002-of-012"
