"""The main job from a config to files and an exit code: plan, run, export, sum up."""

import time
from contextlib import ExitStack, closing
from pathlib import Path

import typer

from sa2va_cli.cli.exit_codes import EXIT_DONE, EXIT_SOME_FAILED
from sa2va_cli.cli.formats import chosen_formats, with_failures
from sa2va_cli.cli.guard import require_stdout
from sa2va_cli.cli.services import Services
from sa2va_cli.cli.stream import STDOUT, jsonl_stream
from sa2va_cli.config import JobConfig
from sa2va_cli.exporters import ExportOptions, export_options, export_results
from sa2va_cli.exporters.base import Exported
from sa2va_cli.jobs.lock import JobLock
from sa2va_cli.jobs.plan import Plan
from sa2va_cli.jobs.progress import make_view, visible
from sa2va_cli.jobs.reader import StoreReader
from sa2va_cli.jobs.watch import RunState, Summary, View
from sa2va_cli.runners.job import Prepared, look_ahead, prepare, run
from sa2va_cli.runners.supervisor import ignore


def annotate_job(config: JobConfig, services: Services) -> int:
    """Run a job to its end, or to a signal. Returns the exit code; raises Sa2vaError."""
    started = time.monotonic()
    if config.dry_run or config.jsonl == STDOUT:
        require_stdout()
    named = ",".join(config.formats) or None
    chosen_formats(named, has_videos=False)  # an unknown one is told before anything is done
    options = export_options(config.coco_segmentation, config.min_score, config.min_presence)
    prepared = prepare(config, services.source_of(config))
    if config.dry_run:
        typer.echo(plan_text(prepared, look_ahead(prepared)))
        return EXIT_DONE
    videos = any(item.media_kind == "video" for item in prepared.found.items)
    formats = with_failures(chosen_formats(named, videos))
    view = make_view(config.quiet, config.json_log)
    with closing(view), JobLock(prepared.job_dir) as lock:
        state = _run(prepared, lock, view, services, options)
        exported = []
        if not services.stop.requested:
            view.say("writing " + ", ".join(formats))
            exported = _export(prepared.job_dir, formats, options)
    code = services.stop.exit_code or (EXIT_SOME_FAILED if state.all_failed else EXIT_DONE)
    view.summary(
        Summary(
            done=state.done_before + state.done,
            done_now=state.done,
            failed=state.all_failed,
            left=state.left,
            seconds=round(time.monotonic() - started, 1),
            skipped=prepared.found.skipped,
            written=tuple(one.text("; ") for one in exported),
            next_step=_next_step(prepared.job_dir, state, code),
            exit_code=code,
        )
    )
    return code


def plan_text(prepared: Prepared, plan: Plan) -> str:
    """What `--dry-run` shows."""
    rows = (
        (plan.new, "new"),
        (plan.changed, "changed since they were done"),
        (plan.again, "to be done again, as asked"),
        (plan.left, "left from an earlier run"),
        (plan.done, "done already"),
        (plan.failed, "failed before (--retry-failed tries them again)"),
        (plan.problems, "cannot be used"),
        (prepared.found.skipped, "other files, not looked at"),
    )
    items = f"{plan.todo} item{'' if plan.todo == 1 else 's'} to do"
    count = len(prepared.devices)
    devices = ", ".join(dict.fromkeys(prepared.devices))
    workers = f"{count} worker{'' if count == 1 else 's'} on {devices}"
    lines = [f"{items} with {workers}, into {prepared.job_dir}"]
    lines += [f"{count:>9} {what}" for count, what in rows if count]
    lines += [
        f"          {problem.path}: {problem.reason}" for problem in prepared.found.problems[:10]
    ]
    return "\n".join(map(visible, lines))


def _run(
    prepared: Prepared, lock: JobLock, view: View, services: Services, options: ExportOptions
) -> RunState:
    config = prepared.config
    with ExitStack() as stack:
        on_done = ignore
        if config.jsonl:
            stream = jsonl_stream(config.jsonl, prepared.job_dir, options, view.say)
            on_done = stack.enter_context(stream).write
        return run(prepared, lock, view, services.stop, on_done)


def _export(job_dir: Path, formats: tuple[str, ...], options: ExportOptions) -> list[Exported]:
    with closing(StoreReader(job_dir)) as results:
        return export_results(results, formats, job_dir, options)


def _next_step(job_dir: Path, state: RunState, code: int) -> str:
    if code not in (EXIT_DONE, EXIT_SOME_FAILED):
        return "Stopped. Run the same command again to go on."
    if state.all_failed:
        return (
            f"{job_dir / 'failures.jsonl'} tells what failed and why; "
            "the same command with --retry-failed tries it again."
        )
    return "" if state.total else "No image or video was found."
