"""`sa2va annotate`: folders and sentences in, masks out."""

from typing import Any

import typer

from sa2va_cli.cli import options as o
from sa2va_cli.cli.guard import run_guarded
from sa2va_cli.cli.services import services_of
from sa2va_cli.config import parse_prompt


def annotate(
    context: typer.Context,
    inputs: o.Inputs = None,
    output: o.Output = None,
    prompts: o.PromptOption = None,
    prompts_file: o.PromptsFile = None,
    task: o.Task = None,
    regions: o.Regions = None,
    presence: o.Presence = None,
    null: o.Null = None,
    files_from: o.FilesFrom = None,
    manifest: o.Manifest = None,
    include: o.Include = None,
    exclude: o.Exclude = None,
    hidden: o.Hidden = None,
    frames_as_video: o.FramesAsVideo = None,
    max_pixels: o.MaxPixels = None,
    fps: o.Fps = None,
    every: o.Every = None,
    start: o.Start = None,
    end: o.End = None,
    max_frames: o.MaxFrames = None,
    track_all: o.TrackAll = None,
    key_frames: o.KeyFrames = None,
    key_sampling: o.KeySampling = None,
    window: o.Window = None,
    overlap: o.Overlap = None,
    video_mode: o.VideoMode = None,
    model: o.Model = None,
    revision: o.Revision = None,
    offline: o.Offline = None,
    dtype: o.Dtype = None,
    attention: o.Attention = None,
    sam2_weights: o.Sam2Weights = None,
    engine: o.Engine = None,
    compile: o.Compile = None,
    devices: o.Devices = None,
    batch_size: o.BatchSize = None,
    workers_per_device: o.WorkersPerDevice = None,
    item_timeout: o.ItemTimeout = None,
    shard: o.ShardOption = None,
    runner: o.Runner = None,
    formats: o.Formats = None,
    coco_segmentation: o.Segmentation = None,
    min_score: o.MinScore = None,
    min_presence: o.MinPresence = None,
    jsonl: o.Jsonl = None,
    config: o.ConfigFile = None,
    force: o.Force = None,
    retry_failed: o.RetryFailed = None,
    dry_run: o.DryRun = None,
    quiet: o.Quiet = None,
    json_log: o.JsonLog = None,
) -> None:
    """Annotate images and videos: what your sentences name gets masks.

    sa2va annotate photos/ -p "the red car" -p "every person" -o out/
    sa2va annotate clips/ -p "car=the red car" -o out/ -f youtube-vis,video
    sa2va annotate photos/ --task caption -o out/ -f coco,overlay
    find . -name '*.jpg' -print0 | sa2va annotate - -0 -p "a dog" -o out/

    Run the same command again: it does what is new, changed or unfinished.

    Exit codes: 0 done, 1 fatal, 2 usage, 3 done but some items failed,
    11 another run has the folder, 130 and 143 interrupted.
    """
    given = {name: value for name, value in locals().items() if _is_given(value)}
    from sa2va_cli.cli.annotate_job import annotate_job  # loads NumPy: not for --help
    from sa2va_cli.jobs.config_file import make_config

    del given["context"]
    config_file = given.pop("config", None)
    in_json = bool(given.get("json_log"))
    job = run_guarded(lambda: make_config(config_file, _config_values(given)), in_json)
    code = run_guarded(lambda: annotate_job(job, services_of(context)), job.json_log)
    raise typer.Exit(code)


def _is_given(value: object) -> bool:
    return value is not None and value != []


def _config_values(given: dict[str, Any]) -> dict[str, Any]:
    """Options in the words and types of JobConfig."""
    from sa2va_cli.jobs.prompt_file import read_prompts

    prompts = tuple(parse_prompt(text) for text in given.pop("prompts", ()))
    if "prompts_file" in given:
        prompts += read_prompts(given.pop("prompts_file"))
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    if prompts:
        values["prompts"] = prompts
    if "formats" in values:
        values["formats"] = (values["formats"],)
    return values
