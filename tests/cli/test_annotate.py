"""`sa2va annotate` as people run it: the real command, in a process of its own."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from sa2va_cli.cli.annotate_job import annotate_job
from sa2va_cli.cli.services import Services
from sa2va_cli.cli.stream import jsonl_stream
from sa2va_cli.errors import JobLockedError
from sa2va_cli.exporters import EXPORTERS, Exported, ExportOptions
from sa2va_cli.jobs.lock import JobLock
from tests.jobs.runs import (
    command,
    done_items,
    job,
    results,
    sa2va,
    start,
    wait_for,
    workers_of,
)
from tests.jobs.tiny import TinySource, write_pictures, write_poison


@pytest.fixture
def pictures(tmp_path):
    return write_pictures(tmp_path / "in", 4)


def annotate(tmp_path, *more: str, **options):
    arguments = ("annotate", tmp_path / "in", "-p", "the red car", "-o", tmp_path / "out")
    return sa2va(*arguments, "-d", "cpu:2", *more, **options)


def start_annotate(tmp_path, *more: str, seconds: float = 0.3, **options):
    arguments = ("annotate", tmp_path / "in", "-p", "the red car", "-o", tmp_path / "out")
    return start(*arguments, "-d", "cpu:2", *more, seconds=seconds, **options)


def test_exit_code_0_when_all_is_done(tmp_path, pictures):
    run = annotate(tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "", "data goes to standard output only when asked"
    assert "4 done (4 in this run), 0 failed" in run.stderr
    coco = json.loads((tmp_path / "out/annotations.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [path.name for path in pictures]


def test_a_quiet_run_of_a_real_model_says_nothing(tmp_path, pictures):
    """Cron mails whatever is said; Python's own helpers speak up, too, when a process ends."""
    model = ("--model", "demo", "--devices", "cpu", "--quiet")
    arguments = ("annotate", tmp_path / "in", "-p", "the red circle", "-o", tmp_path / "out")
    command = [sys.executable, "-m", "sa2va_cli.cli", *map(str, arguments), *model]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_exit_code_1_when_no_worker_can_work(tmp_path, pictures):
    run = annotate(tmp_path, broken="exit")
    assert run.returncode == 1
    assert "Error: No worker is left" in run.stderr
    assert "Traceback" not in run.stderr


def test_inputs_of_which_none_is_there_are_a_usage_error(tmp_path):
    run = annotate(tmp_path)
    assert run.returncode == 2
    assert "Error: There is no " in run.stderr
    assert not (tmp_path / "out").exists()


def test_exit_code_2_for_what_cannot_be_used(tmp_path, pictures):
    run = annotate(tmp_path, "--devices", "gpu")
    assert run.returncode == 2
    assert "Unknown device 'gpu'" in run.stderr
    assert not (tmp_path / "out").exists()


def test_exit_code_3_when_some_items_failed(tmp_path, pictures):
    write_poison(tmp_path / "in/oom.png", "oom")
    run = annotate(tmp_path)
    assert run.returncode == 3
    assert "failed: oom.png: Out of memory" in run.stderr
    assert "--retry-failed" in run.stderr
    (line,) = (tmp_path / "out/failures.jsonl").read_text().splitlines()
    assert json.loads(line)["item_id"] == "oom.png"
    assert annotate(tmp_path).returncode == 3, "it is still failed"


def test_exit_code_11_when_another_run_holds_the_folder(tmp_path, pictures):
    with JobLock(tmp_path / "out"):
        run = annotate(tmp_path)
    assert run.returncode == 11
    assert f"in use by process {os.getpid()}" in run.stderr


def test_the_folder_is_held_until_the_last_file_is_written(tmp_path, pictures, monkeypatch):
    """Else a second run would find nothing to do, and write the same files at the same time."""

    class Onlooker:
        def __init__(self, options):
            pass

        def export(self, results, out_dir):
            with pytest.raises(JobLockedError):
                JobLock(out_dir).__enter__()
            return Exported(out_dir, 1, "looks")

    monkeypatch.setitem(EXPORTERS, "onlooker", Onlooker)
    config = job(tmp_path, devices="cpu", runner="local", formats=("onlooker",), quiet=True)
    assert annotate_job(config, Services(source_of=lambda config: TinySource())) == 0
    with JobLock(tmp_path / "out"):
        pass


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_ends_the_run_in_good_order_and_it_can_be_resumed(tmp_path, number, code):
    write_pictures(tmp_path / "in", 24)
    here = signal.signal(number, signal.SIG_DFL)  # what nohup ignores, children ignore, too
    run = start_annotate(tmp_path, seconds=1)
    signal.signal(number, here)
    wait_for(lambda: done_items(tmp_path / "out") >= 2)
    workers = workers_of(run.pid)
    asked = time.monotonic()
    os.killpg(run.pid, number)  # as a terminal does it: the workers get it too
    stderr = run.communicate(timeout=60)[1]
    assert time.monotonic() - asked < 30
    assert run.returncode == code, stderr
    assert "Run the same command again to go on." in stderr
    assert not any(worker.is_running() for worker in workers)
    assert 2 <= done_items(tmp_path / "out") < 24
    assert annotate(tmp_path).returncode == 0
    assert len(results(tmp_path / "out")) == 24


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_workers_start_is_for_the_parent_alone(tmp_path, pictures, number):
    """They still import: what would ignore it comes later."""
    run = start_annotate(tmp_path)
    workers = wait_for(lambda: workers_of(run.pid))
    time.sleep(0.2)
    os.killpg(run.pid, number)
    stderr = run.communicate(timeout=60)[1]
    assert run.returncode == 128 + number, stderr
    assert "Traceback" not in stderr and "starting another worker" not in stderr
    assert not any(worker.is_running() for worker in workers)


def test_under_nohup_a_run_outlives_its_terminal(tmp_path, pictures):
    run = start_annotate(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_for(lambda: in_work(tmp_path / "out"))
    os.killpg(run.pid, signal.SIGHUP)
    stderr = run.communicate(timeout=120)[1]
    assert run.returncode == 0, stderr
    assert len(results(tmp_path / "out")) == 4


def test_the_second_ctrl_c_leaves_at_once(tmp_path):
    write_pictures(tmp_path / "in", 4)
    run = start_annotate(tmp_path, "--json-log", seconds=60)
    read_up_to(run, '"doing": "0000')  # the models have them
    run.send_signal(signal.SIGINT)
    read_up_to(run, "waiting for the items that are being worked on")
    run.send_signal(signal.SIGINT)
    stderr = run.communicate(timeout=60)[1]
    assert run.returncode == 130
    assert '"summary"' not in stderr, "it left at once"


def read_up_to(run, words: str) -> None:
    """Read what a run tells until it tells this."""
    assert any(words in line for line in run.stderr), words


def in_work(job_dir) -> int:
    if not (job_dir / "job.sqlite").exists():
        return 0
    connection = sqlite3.connect(job_dir / "job.sqlite")
    try:
        return connection.execute("SELECT count(*) FROM attempts").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def test_a_run_waits_for_who_reads_its_store_and_can_be_stopped_meanwhile(tmp_path, pictures):
    assert annotate(tmp_path).returncode == 0
    with closing(sqlite3.connect(tmp_path / "out/job.sqlite")) as reader:
        cursor = reader.execute("SELECT * FROM items")
        cursor.fetchone()
        for more in range(2):
            write_pictures(tmp_path / "in", 5 + more)
            run = start_annotate(tmp_path)
            read_up_to(run, "another program reads job.sqlite")
            if more == 0:
                run.send_signal(signal.SIGTERM)
                stderr = run.communicate(timeout=30)[1]
                assert (run.returncode, "Error" in stderr) == (143, False), stderr
        cursor.close()
    stderr = run.communicate(timeout=60)[1]
    assert run.returncode == 0, stderr
    assert done_items(tmp_path / "out") == 6


def test_ctrl_c_before_the_work_begins_leaves_too(tmp_path, pictures):
    os.mkfifo(tmp_path / "list")
    run = start("annotate", "--files-from", tmp_path / "list", "-p", "x", "-o", tmp_path / "out")
    with (tmp_path / "list").open("w"):  # opens when it reads paths
        run.send_signal(signal.SIGINT)
        stderr = run.communicate(timeout=60)[1]
    assert (run.returncode, stderr) == (130, "")


def test_workers_die_with_their_parent(tmp_path):
    write_pictures(tmp_path / "in", 4)
    run = start_annotate(tmp_path, seconds=60)
    workers = wait_for(lambda: len(found := workers_of(run.pid)) == 2 and found)
    wait_for(lambda: in_work(tmp_path / "out"))
    run.kill()
    run.communicate()
    wait_for(lambda: not any(worker.is_running() for worker in workers), seconds=10)


def test_json_lines_stream_to_standard_output(tmp_path, pictures):
    write_poison(tmp_path / "in/oom.png", "oom")
    run = annotate(tmp_path, "--jsonl", "-", "--quiet")
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert sorted(line["item_id"] for line in lines) == [path.name for path in pictures]
    assert lines[0]["objects"][0]["masks"][0]["rle"]["size"] == [16, 20]
    assert run.stderr.startswith("failed: oom.png: Out of memory: no room for 3 TB\n")


def test_a_reader_of_json_lines_that_goes_away_ends_only_the_lines(tmp_path, pictures):
    arguments = ("annotate", tmp_path / "in", "-p", "a car", "-o", tmp_path / "out", "--jsonl", "-")
    line = " ".join(f"'{word}'" for word in command(*arguments, "-d", "cpu", seconds=0.2))
    run = subprocess.run(
        f"set -o pipefail; {line} | head -n 1", shell=True, executable="/bin/bash",
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 1
    assert "Traceback" not in run.stderr
    assert "Exception ignored" not in run.stderr
    assert len(results(tmp_path / "out")) == 4


@pytest.mark.parametrize("how", [[], ["--json-log"]])
def test_a_reader_of_the_progress_that_goes_away_ends_only_the_talk(tmp_path, pictures, how):
    arguments = ("annotate", tmp_path / "in", "-p", "a car", "-o", tmp_path / "out", "-d", "cpu")
    line = " ".join(f"'{word}'" for word in command(*arguments, *how, seconds=0.2))
    run = subprocess.run(
        f"set -o pipefail; {line} 2>&1 | head -n 1", shell=True, executable="/bin/bash",
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0
    assert len(results(tmp_path / "out")) == 4
    assert (tmp_path / "out" / "annotations.json").exists()


def test_paths_from_a_pipeline(tmp_path, pictures):
    (tmp_path / "in/new\nline.png").write_bytes(pictures[0].read_bytes())
    arguments = ("annotate", "-", "-0", "-p", "a car", "-o", tmp_path / "out", "-d", "cpu")
    line = " ".join(f"'{word}'" for word in command(*arguments, "--jsonl", "-"))
    run = subprocess.run(
        f"find {tmp_path}/in -name '*.png' -print0 | {line} | wc -l", shell=True,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.stdout.strip() == "5", run.stderr


def without_stdin(tmp_path, *arguments):
    """A run as cron jobs and daemons may start it: `<&-`."""
    words = ("annotate", *arguments, "-p", "the red car", "-o", tmp_path / "out", "-d", "cpu")
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *command(*words)]
    return subprocess.run(shell, capture_output=True, text=True, check=False, timeout=120)


def test_standard_input_may_be_closed_unless_it_is_asked_for(tmp_path, pictures):
    asked_for = without_stdin(tmp_path, "-")
    assert asked_for.returncode == 2
    assert asked_for.stderr.startswith("Error: Standard input, which - stands for, is closed.")
    run = without_stdin(tmp_path, tmp_path / "in")
    assert run.returncode == 0, run.stderr
    assert "4 done (4 in this run), 0 failed" in run.stderr


def with_stdout(where, *arguments):
    """A command whose standard output is `/dev/full`, or closed: `&-`."""
    shell = ["sh", "-c", f'exec "$@" >{where}', "sh", *command(*arguments)]
    return subprocess.run(shell, capture_output=True, text=True, check=False, timeout=120)


def test_a_full_or_closed_standard_output_ends_with_a_sentence(tmp_path, pictures):
    job = ("annotate", tmp_path / "in", "-p", "a car", "-o", tmp_path / "out", "-d", "cpu", "-q")
    for arguments in ((*job, "--jsonl", "-"), (*job, "--dry-run")):
        closed = with_stdout("&-", *arguments)
        assert closed.returncode == 2
        assert closed.stderr.startswith("Error: Standard output is closed.\nHint: ")
    assert not (tmp_path / "out").exists(), "it is told before any work"
    assert with_stdout("&-", *job).returncode == 0, "who asks for no lines needs no output"
    for arguments in (("status", tmp_path / "out"), (*job, "--dry-run"), ("--version",)):
        full = with_stdout("/dev/full", *arguments)
        assert full.returncode == 1
        assert full.stderr.startswith("Error: Cannot write to standard output: No space left")
        assert "Traceback" not in full.stderr and "Exception ignored" not in full.stderr
    full = with_stdout("/dev/full", *job, "--force", "--jsonl", "-")
    assert (full.returncode, full.stderr.count("\n")) == (1, 2), full.stderr
    assert with_stdout("&-", "status", tmp_path / "out").returncode == 2


def test_json_log_is_json_and_ends_with_a_summary(tmp_path, pictures):
    write_poison(tmp_path / "in/oom.png", "oom")
    run = annotate(tmp_path, "--json-log")
    events = [json.loads(line) for line in run.stderr.splitlines()]
    assert {event["type"] for event in events} == {"status", "error", "summary"}
    assert events[-1]["type"] == "summary"
    assert (events[-1]["done"], events[-1]["failed"], events[-1]["exit_code"]) == (4, 1, 3)


@pytest.mark.parametrize("how", ["--quiet", "--json-log"])
def test_what_cannot_be_used_is_told_by_name_once(tmp_path, how):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/empty.png").touch()
    first, second = annotate(tmp_path, how), annotate(tmp_path, how)
    assert (first.returncode, second.returncode) == (3, 3)
    told = "failed: empty.png: " if how == "--quiet" else '"item_id": "empty.png"'
    assert (first.stderr.count(told), second.stderr.count(told)) == (1, 0), first.stderr


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["-p", "x", "--devices", "gpu"], 2),
        (["-p", "x", "--prompts", "gone.txt"], 2),
        (["-p", "x", "-d", "cpu"], 11),
        ([], 2),
    ],
)
def test_what_ends_a_run_is_json_in_a_json_log_too(tmp_path, pictures, options, code):
    with JobLock(tmp_path / "out"):
        run = sa2va("annotate", tmp_path / "in", "-o", tmp_path / "out", *options, "--json-log")
    (event,) = map(json.loads, run.stderr.splitlines())
    assert (event["type"], event["exit_code"], run.returncode) == ("fatal", code, code)
    assert event["message"] and "hint" in event and "Hint" not in event["message"]


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path, pictures):
    run = annotate(tmp_path, "--dry-run")
    assert run.returncode == 0
    assert run.stdout.startswith("4 items to do with 2 workers on cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_dry_run_needs_no_right_to_write(tmp_path, pictures):
    (tmp_path / "out").mkdir(mode=0o500)
    assert annotate(tmp_path).returncode == 2
    assert annotate(tmp_path, "--dry-run").returncode == 0


def test_a_dry_run_shows_names_that_are_no_text_and_gives_the_terminal_no_orders(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "\x1b[31mcaf\udce9.jpg").touch()
    run = annotate(tmp_path, "--dry-run", env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
    assert run.returncode == 0, run.stderr
    assert "/in/\ufffd[31mcaf\ufffd.jpg: it is empty" in run.stdout


def test_other_settings_on_the_same_folder_are_refused(tmp_path, pictures):
    annotate(tmp_path)
    run = annotate(tmp_path, "-p", "a dog")
    assert run.returncode == 2
    assert "prompts: the red car -> the red car, a dog" in run.stderr


def test_the_output_may_not_be_an_input(tmp_path, pictures):
    run = sa2va("annotate", tmp_path / "in", "-p", "x", "-o", tmp_path / "in")
    assert run.returncode == 2
    assert "lies in the output folder" in run.stderr


def test_names_that_no_folder_can_have_are_told_in_a_sentence(tmp_path, pictures):
    long = tmp_path / ("n" * 260)
    for options in ([], ["--dry-run"], ["--shard", "1/2"]):
        run = sa2va("annotate", tmp_path / "in", "-p", "a car", "-o", long, *options)
        assert run.returncode == 2
        assert run.stderr.startswith("Error: The name of the output folder ")
    for reader in (["export"], ["export", "-f", "coco", "-o", tmp_path / "out"], ["status"]):
        run = sa2va(*reader, long)
        assert run.returncode == 1
        assert " holds no job.\nHint: " in run.stderr


def test_a_segment_job_without_prompts_is_refused(tmp_path, pictures):
    run = sa2va("annotate", tmp_path / "in", "-o", tmp_path / "out")
    assert run.returncode == 2
    assert "needs to know what to look for" in run.stderr


def test_an_empty_folder_is_no_error(tmp_path):
    (tmp_path / "in").mkdir()
    run = annotate(tmp_path)
    assert run.returncode == 0
    assert "No image or video was found." in run.stderr


def test_a_line_that_a_kill_tore_is_cut_off_before_the_next_one(tmp_path, pictures):
    lines = tmp_path / "lines.jsonl"
    assert annotate(tmp_path, "--jsonl", str(lines)).returncode == 0
    whole = lines.read_bytes()
    lines.write_bytes(whole[:-30])
    write_pictures(tmp_path / "more", 1)[0].rename(tmp_path / "in/more.png")
    assert annotate(tmp_path, "--jsonl", str(lines)).returncode == 0
    assert lines.read_bytes().startswith(b"".join(whole.splitlines(keepends=True)[:3]))
    told = [json.loads(line)["item_id"] for line in lines.read_text().splitlines()]
    assert (len(told), told[-1]) == (4, "more.png")


@pytest.mark.parametrize("text", ["", "x", "a\nb", '{"a": 1}\n'])
def test_what_is_no_torn_line_stays_in_the_file(tmp_path, text):
    (tmp_path / "lines").write_text(text)
    with jsonl_stream(str(tmp_path / "lines"), tmp_path, ExportOptions(), print):
        pass
    assert (tmp_path / "lines").read_text() == text


@pytest.mark.parametrize(
    ("text", "mended"), [('{"a": 1}', '{"a": 1}\n'), ('{"a": 1}\n{"b', '{"a": 1}\n')]
)
def test_a_line_without_an_end_gets_one_if_it_is_whole(tmp_path, text, mended):
    (tmp_path / "lines").write_text(text)
    with jsonl_stream(str(tmp_path / "lines"), tmp_path, ExportOptions(), print):
        pass
    assert (tmp_path / "lines").read_text() == mended


def test_a_job_in_a_folder_of_any_name_tells_how_it_stands_and_is_merged(tmp_path, pictures):
    folder = tmp_path / os.fsdecode(b"caf\xe9\x1b[2J")
    sa2va("annotate", tmp_path / "in", "-p", "the red car", "-o", folder, "-d", "cpu")
    told = sa2va("status", folder)
    assert told.returncode == 0 and "4 done" in told.stdout and "\x1b" not in told.stdout
    merged = sa2va("merge", folder, "-o", tmp_path / "all")
    assert "4 done" in merged.stderr


def test_status_tells_how_a_job_stands(tmp_path, pictures):
    write_poison(tmp_path / "in/oom.png", "oom")
    annotate(tmp_path)
    run = sa2va("status", tmp_path / "out", "--json")
    found = json.loads(run.stdout)
    assert (found["done"], found["failed"], found["left"], found["running"]) == (4, 1, 0, False)
    assert "4 done, 1 failed, 0 left" in sa2va("status", tmp_path / "out").stdout
    assert sa2va("status", tmp_path).returncode == 1
