"""`sa2va bench`: how fast this box is with a model, and what keeps it from being faster."""

from pathlib import Path
from typing import Annotated

import typer

from sa2va_cli.cli import options as o

WORKS = "image-1,image-4,image-16,video-1,video-5"


def bench(
    works: Annotated[
        str,
        typer.Option(
            "--works",
            help="What to measure: image-N and video-N with N prompts, batch-N with N images, "
            "caption-N (default: 1, 4 and 16 prompts for an image, 1 and 5 for a video).",
            metavar="LIST",
            show_default=False,
        ),
    ] = WORKS,
    model: o.Model = None,
    random_weights: Annotated[
        str | None,
        typer.Option(
            "--random-weights",
            help="A published model's size without its weights, offline: ByteDance/Sa2VA-4B.",
            metavar="NAME",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            help="fast, plain, or both in turns (the default).",
            metavar="NAME",
            show_default=False,
        ),
    ] = "both",
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat",
            "-n",
            help="Repetitions; the median counts (default: 3).",
            metavar="N",
            show_default=False,
            min=1,
        ),
    ] = 3,
    frames: Annotated[
        int,
        typer.Option(
            "--frames",
            help="Frames of the clip (default: 24).",
            metavar="N",
            show_default=False,
            min=1,
        ),
    ] = 24,
    forced: Annotated[
        bool,
        typer.Option(
            "--forced-answers", help="Prescribe what is answered, as with random weights."
        ),
    ] = False,
    no_stages: Annotated[
        bool, typer.Option("--no-stages", help="Do not show the time by stage.")
    ] = False,
    revision: o.Revision = None,
    offline: o.Offline = None,
    dtype: o.Dtype = None,
    attention: o.Attention = None,
    compile: o.Compile = None,
    device: Annotated[
        str,
        typer.Option(
            "--device", help="auto, cpu, cuda or cuda:1.", metavar="NAME", show_default=False
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="Of the processor (default: all).", metavar="N", min=1),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write a table here.", metavar="FILE")
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Measure speed on this machine, stage by stage, against its limit.

    sa2va bench --model demo
    sa2va bench --random-weights ByteDance/Sa2VA-4B --engine fast

    The fast engine and the plain one, which shares nothing, take turns.
    With random weights, which never say [SEG] by themselves, both are told their
    answers token by token, and do all the work all the same.
    """
    from sa2va_cli.cli.bench_run import BenchOptions, run_bench
    from sa2va_cli.cli.load import talk_config

    job = talk_config(
        {"model": model, "revision": revision, "offline": offline, "dtype": dtype,
         "attention": attention, "compile": compile}
    )  # fmt: skip
    options = BenchOptions(
        works, random_weights, engine, repeat, frames, forced, not no_stages, device, threads,
        markdown, as_json,
    )  # fmt: skip
    raise typer.Exit(run_bench(job, options))
