from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from sa2va_cli.errors import UsageError
from sa2va_cli.jobs.fingerprint import differences, dump_settings, job_settings
from sa2va_cli.jobs.messages import Checkpoint
from sa2va_cli.jobs.plan import Renewal, apply, note_found
from sa2va_cli.jobs.settings import META_NAME, adopt_settings, check_settings, stored_settings
from sa2va_cli.jobs.store import JobStore
from sa2va_cli.runners.job import prepare
from tests.jobs.runs import PROMPTS, job, results, run_job
from tests.jobs.tiny import TinySource, write_pictures


@pytest.fixture
def config(tmp_path):
    """A job that is done."""
    write_pictures(tmp_path / "in", 2)
    config = job(tmp_path, devices="cpu", runner="local")
    run_job(config)
    return config


def test_other_prompts_on_the_same_folder_are_refused_and_the_difference_is_named(config):
    other = replace(config, prompts=PROMPTS[:1])
    with pytest.raises(UsageError) as error:
        run_job(other)
    assert "prompts: car=the red car, person=every person -> car=the red car" in str(error.value)
    assert "--force" in str(error.value)


def test_other_weights_are_refused(config):
    with pytest.raises(UsageError, match="model_revision: tiny-1 -> tiny-2"):
        run_job(config, TinySource(revision="tiny-2"))


def test_the_same_weights_from_another_folder_are_the_same_model(config):
    assert run_job(replace(config, model="/elsewhere/model")).done_before == 2


def test_with_force_the_new_settings_win(config):
    state = run_job(replace(config, prompts=PROMPTS[:1], force=True))
    assert (state.done, state.done_before) == (2, 0)
    assert [len(item.answers) for item, _ in results(config.output)] == [1, 1]


def test_settings_may_change_while_nothing_is_done(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    config = job(tmp_path, devices="cpu", runner="local")
    assert run_job(config).failed == 1
    assert run_job(replace(config, prompts=PROMPTS[:1])).failed == 1


def test_the_first_windows_of_a_video_are_not_given_up_for_a_slip(tmp_path):
    write_pictures(tmp_path / "clip", 4)
    clip = job(tmp_path, inputs=(str(tmp_path / "clip"),), frames_as_video=True, window=2)
    prepared = prepare(clip, TinySource())
    store = JobStore.open(prepared.job_dir)
    adopt_settings(store, prepared.settings)
    store.commit()
    note_found(store, prepared.found.items, [])
    apply(store, Renewal())
    store.begin(1, "cpu")
    store.reach(1, Checkpoint(2, "[]", b"1"))  # and killed in the second window
    store.commit()
    other = prepared.settings | {"every": 2}
    with pytest.raises(UsageError, match=r"other settings \(every: .* -> 2\)"):
        check_settings(store, other, force=False)
    check_settings(store, other, force=True)
    store.close()


@pytest.mark.parametrize(
    "other", [{"devices": "cpu"}, {"formats": ("overlay",)}, {"min_score": 0.5}, {"quiet": True}]
)
def test_what_changes_no_result_is_no_setting(tmp_path, other):
    config = job(tmp_path)
    assert job_settings(config, "r") == job_settings(replace(config, **other), "r")


def test_the_fingerprint_hangs_on_every_setting(tmp_path):
    config = job(tmp_path)
    changes = [{"task": "ask"}, {"fps": 2.0}, {"every": 2}, {"dtype": "float32"}, {"start": 1.0}]
    marks = {dump_settings(job_settings(replace(config, **change), "r")) for change in changes}
    assert len(marks | {dump_settings(job_settings(config, "r"))}) == 6


def test_a_raised_limit_of_pixels_gets_what_was_too_large_and_leaves_the_rest(tmp_path):
    write_pictures(tmp_path / "in", 2)
    Image.new("RGB", (40, 32)).save(tmp_path / "in/large.png")
    first = job(tmp_path, devices="cpu", runner="local", max_pixels=500)
    state = run_job(first)
    assert (state.done, state.failed) == (2, 1)
    state = run_job(replace(first, max_pixels=2000, retry_failed=True))
    assert (state.done, state.done_before, state.failed) == (1, 2, 0)


def test_jobs_whose_settings_still_hold_the_limit_of_pixels_go_on(config):
    store = JobStore.open(config.output)
    with store.writing():
        store.set_meta(META_NAME, dump_settings(stored_settings(store) | {"max_pixels": 500}))
    store.commit()
    store.close()
    assert run_job(replace(config, max_pixels=2000)).done_before == 2


def test_the_same_regions_may_be_spelt_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spellings = ("masks", "./masks", "x/../masks", str(tmp_path / "masks"))
    marks = {
        dump_settings(job_settings(job(tmp_path, regions=Path(spelling)), "r"))
        for spelling in (*spellings, "other")
    }
    assert len(marks) == 2


def test_a_picture_whose_regions_were_drawn_anew_is_done_again(tmp_path):
    names = [path.name for path in write_pictures(tmp_path / "in", 2)]
    masks = write_pictures(tmp_path / "masks", 2)
    for number, path in enumerate(masks):
        Image.new("L", (20, 16), 255 * number).save(path)  # 0: no region in it
    asked = job(tmp_path, task="region", regions=tmp_path / "masks", devices="cpu", runner="local")
    state = run_job(asked)
    assert (state.done, state.failed) == (1, 1)
    Image.new("L", (20, 16), 255).save(masks[0])
    state = run_job(asked)
    assert (state.done, state.done_before) == (1, 1), "the one that failed has a region now"
    assert [item.item_id for item, _ in results(asked.output)] == names
    assert run_job(asked).done_before == 2


def test_a_picture_with_too_long_a_name_for_a_mask_only_fails_itself(tmp_path):
    long, short = write_pictures(tmp_path / "in", 2)
    long.rename(tmp_path / "in" / f"{'n' * 251}.png")
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (20, 16), 255).save(masks / short.name)
    state = run_job(job(tmp_path, task="region", regions=masks, devices="cpu", runner="local"))
    assert (state.done, state.failed) == (1, 1)


def test_a_picture_fails_whose_region_was_drawn_before_it_was_turned(tmp_path):
    (picture,) = write_pictures(tmp_path / "in", 1)
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (16, 20), 255).save(masks / picture.name)
    asked = job(tmp_path, task="region", regions=masks, devices="cpu", runner="local")
    assert run_job(asked).failed == 1
    (failure,) = results(asked.output)
    assert "region 255 has 16 x 20 pixels, its picture 20 x 16" in failure.reason


def test_settings_as_text_do_not_hang_on_their_order():
    assert dump_settings({"a": 1, "b": 2}) == dump_settings({"b": 2, "a": 1})


def test_long_values_are_cut_and_missing_ones_are_called_none():
    assert differences({"a": "x" * 500}, {}) == [f"a: {'x' * 119}… -> none"]
