"""Views of a run on standard error: live on a terminal, lines in a log, JSON for programs."""

import json
import os
import sys
import time
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from sa2va_cli.jobs.pace import Pace, clock, speed
from sa2va_cli.jobs.watch import RunState, Summary, View
from sa2va_cli.results import Failure

LINE_SECONDS = 10.0  # between two lines of a log
STATUS_SECONDS = 5.0
DRAW_SECONDS = 0.25
BAR_WIDTH = 30


def make_view(quiet: bool, json_log: bool, stream: TextIO | None = None) -> View:
    """What fits the place that standard error goes to."""
    stream = stream or sys.stderr
    if json_log:
        return JsonView(stream)
    if quiet:
        return QuietView(stream)
    return LiveView(stream) if stream.isatty() else LineView(stream)


def visible(text: str) -> str:
    """File names and messages may hold anything; terminals obey some of it."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def visible_lines(text: str) -> str:
    """The same of a text of several lines."""
    return "\n".join(visible(line) for line in text.split("\n"))


def failure_line(failure: Failure) -> str:
    return visible(f"failed: {failure.item_id}: {' '.join(failure.reason.split())}")


class QuietView:
    """Failures, and how it ended if it did not end well."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        pass

    def update(self, state: RunState) -> None:
        pass

    def item_failed(self, failure: Failure) -> None:
        _write_line(self._stream, failure_line(failure))

    def close(self) -> None:
        pass

    def summary(self, summary: Summary) -> None:
        if summary.exit_code:
            _write_line(self._stream, visible_lines(summary.text()))


class LineView:
    """For logs: a line of tqdm's every ten seconds, and every event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = self._last_line = time.monotonic()
        self._state: RunState | None = None
        self._drawn = 0  # items that the last line told of

    def say(self, text: str) -> None:
        _write_line(self._stream, visible(text))

    def update(self, state: RunState) -> None:
        self._state = state
        if not state.at_work:
            self._started = time.monotonic()  # loading a model is no item's time
        news = state.at_work and state.finished != self._drawn
        if news and time.monotonic() - self._last_line >= LINE_SECONDS:
            self._draw(state)

    def item_failed(self, failure: Failure) -> None:
        _write_line(self._stream, failure_line(failure))

    def close(self) -> None:
        if self._state and self._state.finished != self._drawn:
            self._draw(self._state)

    def summary(self, summary: Summary) -> None:
        _write_line(self._stream, visible_lines(summary.text()))

    def _draw(self, state: RunState) -> None:
        self._last_line, self._drawn = time.monotonic(), state.finished
        meter = tqdm.format_meter(
            state.finished,
            state.total,
            self._last_line - self._started,
            ncols=78,
            initial=state.done_before + state.failed_before,
            unit=" items",
            postfix=f"{state.all_failed} failed" if state.all_failed else "",
        )
        _write_line(self._stream, meter)


class LiveView:
    """For terminals: a bar for all, a line for each worker. Honours NO_COLOR."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._pace = Pace()
        self._last_draw = 0.0
        self._live.start()

    def say(self, text: str) -> None:
        self._console.print(Text(visible(text), style="dim"))

    def update(self, state: RunState) -> None:
        if state.at_work:
            self._pace.note(state.done + state.failed)
        if time.monotonic() - self._last_draw >= DRAW_SECONDS:
            self._last_draw = time.monotonic()
            self._live.update(self._picture(state), refresh=True)

    def item_failed(self, failure: Failure) -> None:
        self._console.print(Text(failure_line(failure), style="red"))

    def close(self) -> None:
        self._live.stop()

    def summary(self, summary: Summary) -> None:
        self._console.print(Text(visible_lines(summary.text())), soft_wrap=True)

    def _picture(self, state: RunState) -> Group:
        return Group(self._overall(state), self._workers(state))

    def _overall(self, state: RunState) -> Table:
        share = state.finished / state.total if state.total else 1.0
        parts = [f"{state.finished}/{state.total}", f"{share:.0%}", speed(self._pace.rate)]
        if state.all_failed:
            parts.append(f"{state.all_failed} failed")
        ahead = (
            "stopping" if state.stopping else f"{clock(self._pace.seconds_for(state.left))} left"
        )
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(1, state.total), completed=state.finished, width=BAR_WIDTH)
        row.add_row(bar, Text(", ".join([*parts, ahead])))
        return row

    def _workers(self, state: RunState) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for worker in state.workers:
            frames = f" (frame {worker.frames})" if worker.frames else ""
            doing = Text(visible(worker.doing) + frames)
            table.add_row(worker.name, f"{worker.done} done", doing)
        return table


class JsonView:
    """For programs: one JSON object a line, of type status, error or summary.

    What ends the run without a summary is a line of type fatal (cli.guard).
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pace = Pace()
        self._last_status = 0.0

    def say(self, text: str) -> None:
        self._send({"type": "status", "message": text})

    def update(self, state: RunState) -> None:
        if state.at_work:
            self._pace.note(state.done + state.failed)
        if time.monotonic() - self._last_status < STATUS_SECONDS:
            return
        self._last_status = time.monotonic()
        self._send(
            {
                "type": "status",
                "total": state.total,
                "done": state.done_before + state.done,
                "failed": state.all_failed,
                "left": state.left,
                "items_per_second": round(self._pace.rate, 3),
                "seconds_left": self._pace.seconds_for(state.left),
                "workers": [
                    {"name": w.name, "doing": w.doing, "frames": w.frames, "done": w.done}
                    for w in state.workers
                ],
            }
        )

    def item_failed(self, failure: Failure) -> None:
        self._send(
            {
                "type": "error",
                "item_id": failure.item_id,
                "path": failure.path,
                "reason": failure.reason,
                "attempts": failure.attempts,
            }
        )

    def close(self) -> None:
        pass

    def summary(self, summary: Summary) -> None:
        self._send({"type": "summary"} | summary.to_json())

    def _send(self, event: dict[str, Any]) -> None:
        _write_line(self._stream, json.dumps(event))


def _write_line(stream: TextIO, text: str) -> None:
    """Where nobody takes the lines any more (`2>&1 | head`), the run goes on without them."""
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
