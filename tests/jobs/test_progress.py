import io
import json
import os
import pty
import re
import subprocess

import pytest

from sa2va_cli.jobs.pace import Pace, clock, speed
from sa2va_cli.jobs.progress import (
    JsonView,
    LineView,
    LiveView,
    QuietView,
    failure_line,
    make_view,
    visible,
    visible_lines,
)
from sa2va_cli.jobs.watch import LOADING, RunState, Summary, WorkerState
from sa2va_cli.results import Failure
from tests.jobs.runs import command
from tests.jobs.tiny import write_pictures

FAILURE = Failure("a\x1b[31m\nb.png", "/in/a", "is\nbroken", 1)
STATE = RunState(10, 2, 1, done=3, failed=1, workers=[WorkerState("cpu-1", "x.png", 0, 3)])


def summary(code: int) -> Summary:
    return Summary(5, 3, 2, 4, 1.25, 7, ("out/annotations.json: 4 annotations",), "Go on.", code)


def test_what_file_names_hold_does_not_reach_the_terminal():
    assert visible("a\x1b[2J\nb é 中") == "a�[2J�b é 中"
    assert visible_lines("a\x1b[2J\nb") == "a�[2J\nb"
    assert failure_line(FAILURE) == "failed: a�[31m�b.png: is broken"


@pytest.mark.parametrize(
    ("quiet", "json_log", "view"),
    [(False, False, LineView), (True, False, QuietView), (True, True, JsonView)],
)
def test_the_view_fits_the_options_and_the_place(quiet, json_log, view):
    assert isinstance(make_view(quiet, json_log, io.StringIO()), view)


def test_a_quiet_view_tells_failures_and_a_bad_end():
    stream = io.StringIO()
    view = QuietView(stream)
    view.say("hello")
    view.update(STATE)
    view.summary(summary(0))
    assert stream.getvalue() == ""
    view.item_failed(FAILURE)
    view.summary(summary(3))
    assert stream.getvalue().count("\n") == 5


def test_lines_of_a_log_tell_how_far_it_is():
    stream = io.StringIO()
    view = LineView(stream)
    view.update(STATE)
    view.close()
    assert re.search(r"70%\|.*\| 7/10 .*2 failed", stream.getvalue())
    view.close()
    assert stream.getvalue().count("7/10") == 1, "what was told is not told again"


def test_a_summary_says_what_to_do_next():
    text = summary(3).text()
    assert text.startswith("5 done (3 in this run), 2 failed, 4 left; 1.2 s.")
    assert "7 other files were not looked at" in text
    assert text.endswith("Go on.")


def test_json_events_are_typed_lines():
    stream = io.StringIO()
    view = JsonView(stream)
    view.update(STATE)
    view.item_failed(FAILURE)
    view.summary(summary(3))
    status, error, end = map(json.loads, stream.getvalue().splitlines())
    assert (status["total"], status["done"], status["failed"], status["left"]) == (10, 5, 2, 3)
    assert (error["type"], error["item_id"]) == ("error", FAILURE.item_id)
    assert (end["type"], end["exit_code"], end["next_step"]) == ("summary", 3, "Go on.")


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_shows_a_bar_the_workers_and_the_end(tmp_path, no_color):
    write_pictures(tmp_path / "in", 6)
    arguments = ("annotate", tmp_path / "in", "-p", "a car", "-o", tmp_path / "out", "-d", "cpu")
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    if no_color:
        environment["NO_COLOR"] = "1"
    shown = in_a_terminal(command(*arguments, seconds=0.3), environment)
    assert re.search(r"[1-6]/6, \d+%", shown)
    assert "0000" in shown, "the item at work"
    assert "6 done (6 in this run), 0 failed" in shown
    coloured = re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", shown)
    assert bool(coloured) is not no_color


def in_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """What a pseudo-terminal on standard error got to see."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen(arguments, stderr=theirs, stdout=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert run.wait(timeout=60) == 0
    return shown.decode()


def test_a_live_view_draws_what_has_no_total_yet():
    LiveView(io.StringIO()).update(RunState(0, 0))


def test_pace_is_items_a_second_and_time_left():
    pace = Pace()
    assert (pace.rate, pace.seconds_for(10)) == (0.0, None)
    pace._seen.extend([(100.0, 0), (110.0, 5)])
    assert (pace.rate, pace.seconds_for(10)) == (0.5, 20.0)


def test_loading_a_model_is_no_items_time():
    stream = io.StringIO()
    view = JsonView(stream)
    loading = RunState(10, 0, workers=[WorkerState("cpu-1", LOADING), WorkerState("cpu-2")])
    assert not loading.at_work
    view.update(loading)
    assert not view._pace._seen
    view.update(STATE)
    assert STATE.at_work
    assert len(view._pace._seen) == 1


@pytest.mark.parametrize(
    ("rate", "text"), [(0.0, "-/s"), (2.04, "2.0/s"), (1.0, "1.0/s"), (0.25, "4.0 s each")]
)
def test_slow_items_are_told_in_seconds(rate, text):
    assert speed(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0.4, "0:00:00"), (3723, "1:02:03"), (100 * 3600, "100:00:00")],
)
def test_a_clock_is_read_by_people(seconds, text):
    assert clock(seconds) == text
