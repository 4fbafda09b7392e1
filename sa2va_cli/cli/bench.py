"""`sa2va bench`: how fast this box is with a model, and what keeps it from being faster."""

import typer

from sa2va_cli.cli import bench_options as b
from sa2va_cli.cli import options as o
from sa2va_cli.errors import UsageError


def bench(
    works: b.Works = b.ALL_WORKS,
    model: o.Model = None,
    random_weights: b.RandomWeights = None,
    engine: b.Engine = "both",
    repeat: b.Repeat = 3,
    frames: b.Frames = 24,
    forced: b.ForcedAnswers = False,
    no_stages: b.NoStages = False,
    revision: o.Revision = None,
    offline: o.Offline = None,
    dtype: o.Dtype = None,
    attention: o.Attention = None,
    compile: o.Compile = None,
    device: b.Device = "auto",
    threads: b.Threads = None,
    markdown: b.Markdown = None,
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

    if model is not None and random_weights is not None:
        raise UsageError("--model and --random-weights are two models.", hint="give one of them")
    job = talk_config(
        {"model": model, "revision": revision, "offline": offline, "dtype": dtype,
         "attention": attention, "compile": compile}
    )  # fmt: skip
    options = BenchOptions(
        works, random_weights, engine, repeat, frames, forced, not no_stages, device, threads,
        markdown, as_json,
    )  # fmt: skip
    raise typer.Exit(run_bench(job, options))
