import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sa2va_cli.config import JobConfig, Prompt
from sa2va_cli.errors import UsageError
from sa2va_cli.exporters.files import marked_output
from sa2va_cli.jobs.inputs import find_inputs
from sa2va_cli.runners.job import prepare
from tests.jobs.runs import PROMPTS, job, results, run_job
from tests.jobs.tiny import TinySource, write_pictures


def ids(config: JobConfig, job_dir, stdin: bytes = b"") -> list[str]:
    return [item.item_id for item in find_inputs(config, job_dir, io.BytesIO(stdin)).items]


def test_what_jobs_have_written_is_no_input(tmp_path):
    write_pictures(tmp_path / "photos", 2)
    for job_dir in ("out", "photos/before"):
        write_pictures(tmp_path / job_dir / "overlays", 1)
        (tmp_path / job_dir / "job.sqlite").touch()
    write_pictures(marked_output(tmp_path / "photos/masks"), 1)
    config = JobConfig(inputs=(str(tmp_path),))
    assert ids(config, tmp_path / "out") == ["photos/00000.png", "photos/00001.png"]
    write_pictures(marked_output(tmp_path / "photos"), 2)
    assert len(ids(config, tmp_path / "out")) == 2, "other people's files are not hidden"
    asked_for = JobConfig(inputs=(str(tmp_path / "photos/masks"),))
    assert ids(asked_for, tmp_path / "out") == ["00000.png"]


@pytest.mark.parametrize("inside", ["", "masks", "masks/00000.png"])
def test_an_input_inside_the_output_is_refused(tmp_path, inside):
    write_pictures(tmp_path / "out/masks", 1)
    config = JobConfig(inputs=(str(tmp_path / "out" / inside),))
    with pytest.raises(UsageError, match="lies in the output folder"):
        ids(config, tmp_path / "out")


def test_paths_come_from_standard_input_from_lists_and_from_manifests(tmp_path):
    pictures = [str(path) for path in write_pictures(tmp_path / "in", 3)]
    (tmp_path / "list").write_text(pictures[1] + "\n")
    (tmp_path / "jobs.jsonl").write_text(f'{{"path": "{pictures[2]}", "prompts": ["a=b"]}}\n')
    config = JobConfig(inputs=("-",), null=True, manifest=tmp_path / "jobs.jsonl")
    found = find_inputs(config, tmp_path / "out", io.BytesIO(pictures[0].encode() + b"\0"))
    prompts = {Path(item.path).name: item.prompts for item in found.items}
    assert prompts == {"00000.png": (), "00002.png": (Prompt("a", "b"),)}
    assert len(ids(JobConfig(files_from=tmp_path / "list"), tmp_path / "out")) == 1


def test_a_file_without_prompts_needs_those_of_the_job(tmp_path):
    write_pictures(tmp_path / "in", 2)
    lines = '{"path": "in/00000.png", "prompts": ["a"]}\n{"path": "in/00001.png"}\n'
    (tmp_path / "jobs.jsonl").write_text(lines)
    config = job(tmp_path, inputs=(), prompts=(), manifest=tmp_path / "jobs.jsonl")
    with pytest.raises(UsageError, match=r"00001\.png has no prompt"):
        prepare(config, TinySource())
    state = run_job(replace(config, prompts=PROMPTS, devices="cpu", runner="local"))
    assert state.done == 2
    answers = [len(item.answers) for item, _ in results(tmp_path / "out")]
    assert answers == [1, 2], "its own prompts, or else those of the job"


def test_a_prompt_that_is_given_twice_is_asked_once(tmp_path):
    write_pictures(tmp_path / "in", 2)
    twice = {"path": "in/00000.png", "prompts": ["a dog", {"category": "a dog", "text": "a dog"}]}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(twice) + '\n{"path": "in/00001.png"}\n')
    prompts = (*PROMPTS, Prompt("red", "the red car"), *PROMPTS)  # only exact copies are copies
    config = job(tmp_path, inputs=(), prompts=prompts, manifest=tmp_path / "jobs.jsonl")
    run_job(replace(config, devices="cpu", runner="local"))
    asked = [[answer.prompt for answer in item.answers] for item, _ in results(tmp_path / "out")]
    assert asked == [["a dog"], ["the red car", "every person", "the red car"]]


def test_nothing_given_is_refused(tmp_path):
    with pytest.raises(UsageError, match="There is nothing to annotate"):
        ids(JobConfig(), tmp_path)


def test_an_empty_list_is_as_good_as_an_empty_folder(tmp_path):
    """`find photos -newer last | sa2va annotate -` has nothing to do on most days."""
    (tmp_path / "none").touch()
    assert ids(JobConfig(inputs=("-",)), tmp_path / "out") == []
    for field in ("files_from", "manifest"):
        assert ids(JobConfig(**{field: tmp_path / "none"}), tmp_path / "out") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "region"}, "--task region needs to know the regions"),
        ({"task": "region", "regions": "none"}, "There are no regions in .*none"),
        ({"task": "region", "regions": "text"}, "text cannot be read"),
        ({"task": "segment", "regions": "in"}, "--regions does not go with --task segment"),
    ],
)
def test_regions_are_looked_at_before_a_worker_starts(tmp_path, options, message):
    write_pictures(tmp_path / "in", 1)
    (tmp_path / "text").write_text("no JSON")
    if "regions" in options:
        options = options | {"regions": tmp_path / options["regions"]}
    with pytest.raises(UsageError, match=message):
        prepare(job(tmp_path, **options), TinySource())


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="Cannot read"):
        ids(JobConfig(files_from=tmp_path / "none"), tmp_path)


def test_ids_do_not_change_owner(tmp_path, monkeypatch):
    """Two inputs share a name: gone or not, the first keeps what it had, and so does the second."""
    monkeypatch.chdir(tmp_path)
    (mine,) = write_pictures(tmp_path / "A", 1)
    write_pictures(tmp_path / "B", 1, size=24)
    config = replace(job(tmp_path, devices="cpu", runner="local"), inputs=("A", "B"))
    assert run_job(config).done == 2
    before = results(config.output)
    mine.unlink()
    assert run_job(config).done == 0
    assert results(config.output) == before
    write_pictures(tmp_path / "C", 1, size=32)
    assert ids(replace(config, inputs=("C", "A", "B")), config.output) == [
        "B/00000.png",
        "C/00000.png",
    ]


def test_known_ids_are_kept_however_the_inputs_are_named(tmp_path, monkeypatch):
    """Also those of broken files and of folders that are one video."""
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "in/a/frames", 2)
    (tmp_path / "in/a/broken.png").touch()
    (tmp_path / "linked").symlink_to("in/a")
    config = job(tmp_path, devices="cpu", runner="local", frames_as_video=True)
    run_job(config)
    for given in ("in/a", "linked", str(tmp_path / "in/a"), "in/../in/a", "in/*"):
        found = find_inputs(replace(config, inputs=(given,)), config.output)
        assert [item.item_id for item in found.items] == ["a/frames"]
        assert [problem.item_id for problem in found.problems] == ["a/broken.png"]


def test_a_folder_that_moved_keeps_its_ids(tmp_path):
    """Although its files are unknown where they are now, and were changed on the way."""
    write_pictures(tmp_path / "in", 2)
    config = job(tmp_path, devices="cpu", runner="local")
    run_job(config)
    (tmp_path / "in").rename(tmp_path / "moved")
    write_pictures(tmp_path / "moved", 1, size=24)
    moved = replace(config, inputs=(str(tmp_path / "moved"),))
    assert ids(moved, config.output) == ["00000.png", "00001.png"]


def test_shards_agree_on_ids_whatever_each_knows(tmp_path):
    for name in ("A", "B"):
        write_pictures(tmp_path / name, 1)
    inputs = (str(tmp_path / "A"), str(tmp_path / "B"))
    config = replace(job(tmp_path, devices="cpu", runner="local"), inputs=inputs)
    run_job(config)
    swapped = replace(config, inputs=inputs[::-1])
    assert ids(swapped, config.output) == ["00000.png", "B/00000.png"]
    assert ids(replace(swapped, shard="1/2"), config.output) == ["00000.png", "A/00000.png"]
