"""What `sa2va bench` does: make the engines, measure one work after the other, tell."""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import typer

from sa2va_cli.bench.machine import dtypes_of, measure_machine
from sa2va_cli.bench.measure import Bench, Comparison, Engine
from sa2va_cli.bench.random_weights import demo_tokenizer, forced_answer, random_model
from sa2va_cli.bench.report import markdown, opening, row, stage_table, to_json
from sa2va_cli.bench.work import Work, earlier_pictures, make_ready, parse_works
from sa2va_cli.cli.exit_codes import EXIT_DONE, EXIT_FATAL, exit_code
from sa2va_cli.cli.load import load_model
from sa2va_cli.config import JobConfig
from sa2va_cli.errors import Sa2vaError, UsageError, unknown_name
from sa2va_cli.jobs.out_of_memory import (
    ERRORS,
    free_memory,
    is_out_of_memory,
    memory_reason,
)
from sa2va_cli.models.sa2va.checkpoint import Placement
from sa2va_cli.models.sa2va.compiler import check_compiler
from sa2va_cli.models.sa2va.device import (
    choose_attention,
    choose_device,
    choose_dtype,
    settle_arithmetic,
)
from sa2va_cli.models.sa2va.plain import PlainEngine
from sa2va_cli.models.sa2va.predictor import Sa2VA
from sa2va_cli.models.sa2va.published import published_config
from sa2va_cli.models.sa2va.readiness import settle_model
from sa2va_cli.resources import usable_cores
from sa2va_cli.runners.crew import MOST_OPENERS
from sa2va_cli.runners.devices import choose_batch_size

ENGINES = {"both": ("fast", "plain"), "fast": ("fast",), "plain": ("plain",)}


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """The command's own options."""

    works: str
    random_weights: str | None
    engine: str
    repeat: int
    frames: int
    forced: bool
    stages: bool
    device: str
    threads: int | None
    markdown: Path | None
    as_json: bool


def run_bench(config: JobConfig, options: BenchOptions) -> int:
    """Returns the exit code; at Ctrl-C what was measured until then is told."""
    works = _checked(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    started = time.monotonic()
    model = _load(config, options)
    device = model.device
    machine = measure_machine(device, dtypes_of(model.model))
    name = options.random_weights or config.model
    name += ", random weights" if options.random_weights else ""
    forced = options.forced or options.random_weights is not None
    typer.echo(opening(name, machine, options.repeat), err=options.as_json)
    if forced:
        typer.echo("answers are prescribed, token by token, for both engines", err=options.as_json)
    compiled = " and compiled" if config.compile else ""
    seconds = time.monotonic() - started
    typer.echo(f"model loaded{compiled} in {seconds:.1f} s", err=options.as_json)
    at_once = choose_batch_size("auto", [str(device)])
    openers = 1 if device.type == "cpu" else min(MOST_OPENERS, usable_cores())
    bench = Bench(_engines(model, options.engine, forced), machine, device, at_once, openers)
    comparisons, code = _compare(bench, works, options)
    if options.as_json:
        typer.echo(json.dumps(to_json(name, machine, forced, comparisons), indent=1))
    if options.markdown:
        options.markdown.write_text(markdown(comparisons) + "\n", encoding="utf-8")
    return code


def _checked(options: BenchOptions) -> Sequence[Work]:
    """The works, if all that was asked for can be done. Raises UsageError."""
    works = parse_works(options.works)
    if options.markdown and not _can_be_written(options.markdown):
        raise UsageError(f"Cannot write {options.markdown}.", hint="name a file for --markdown")
    if options.engine not in ENGINES:
        raise unknown_name("engine", options.engine, ENGINES)
    return works


def _can_be_written(path: Path) -> bool:
    return not path.is_dir() and os.access(path if path.exists() else path.parent, os.W_OK)


def _compare(
    bench: Bench, works: Sequence[Work], options: BenchOptions
) -> tuple[list[Comparison], int]:
    """What was measured, all of it or until a signal came; and the exit code."""
    comparisons: list[Comparison] = []
    code = EXIT_DONE
    try:
        for work in works:
            try:
                comparison = bench.compare(work, options.repeat, options.frames)
            except (Sa2vaError, *ERRORS) as error:
                code = _tell_failure(work, error)
                continue
            comparisons.append(comparison)
            typer.echo("\n" + _text(comparison, options.stages), err=options.as_json)
            if bench.stopped_by:
                raise bench.stopped_by
    except SystemExit as signal:  # so Ctrl-C comes: jobs.stop
        typer.echo("interrupted: this is what was measured", err=True)
        return comparisons, int(signal.code or 0)
    return comparisons, code


def _tell_failure(work: Work, error: Exception) -> int:
    """Other works may still be measured. Returns the exit code; raises what is a bug again."""
    if isinstance(error, Sa2vaError):
        reason, code = str(error), exit_code(error)
    elif is_out_of_memory(error):
        reason, code = memory_reason(error), EXIT_FATAL
        free_memory()
    else:
        raise error
    typer.echo(f"\n{work.name} was not measured: {reason}", err=True)
    return code


def _load(config: JobConfig, options: BenchOptions) -> Sa2VA:
    if options.random_weights is None:
        return load_model(config, options.device)
    published = published_config(options.random_weights)
    device = choose_device(options.device)
    if config.compile:
        check_compiler(on_gpu=device.type == "cuda")
    settle_arithmetic(device)
    dtype = choose_dtype(config.dtype, device, published.vision.hidden_size)
    attention = choose_attention(config.attention, device, dtype)
    typer.echo(f"drawing random weights of {options.random_weights} …", err=True)
    model = random_model(published, Placement(device, dtype, attention))
    settle_model(model, device, compiled=config.compile)
    return Sa2VA(model, demo_tokenizer())


def _engines(model: Sa2VA, chosen: str, forced: bool) -> dict[str, Callable[[Work], Engine]]:
    def fresh(work: Work) -> Sa2VA:
        answer = forced_answer(work, model.tokenizer) if forced else ()
        return Sa2VA(model.model, model.tokenizer, model.revision, forced_answer=answer)

    def fast(work: Work) -> Sa2VA:
        engine = fresh(work)
        if work.kind == "caption" and not forced:  # a prescribed caption would be known from others
            captions = make_ready(work, 0)
            for picture in earlier_pictures():
                engine.answer_image(picture, captions.questions)
        return engine

    makers: dict[str, Callable[[Work], Engine]] = {
        "fast": fast,
        "plain": lambda work: PlainEngine(fresh(work).steps),
    }
    return {name: makers[name] for name in ENGINES[chosen]}


def _text(comparison: Comparison, stages: bool) -> str:
    tables = [stage_table(one) for one in comparison.measurements] if stages else []
    return "\n".join([row(comparison), *tables])
