"""A whole run of a job: look, check, plan, work. Everything but the files made of the results."""

from dataclasses import dataclass, replace
from pathlib import Path

from sa2va_cli.config import JobConfig, Shard, parse_shard
from sa2va_cli.errors import UsageError
from sa2va_cli.jobs.annotator import Loader, ModelSource
from sa2va_cli.jobs.checks import check_output, check_values
from sa2va_cli.jobs.fingerprint import Settings, job_settings
from sa2va_cli.jobs.inputs import find_inputs
from sa2va_cli.jobs.lock import JobLock
from sa2va_cli.jobs.opened import Asking
from sa2va_cli.jobs.patience import Patience
from sa2va_cli.jobs.plan import Plan, Renewal, apply, compare, note_found
from sa2va_cli.jobs.settings import adopt_settings, check_settings
from sa2va_cli.jobs.shard import in_shard
from sa2va_cli.jobs.stop import StopSignals
from sa2va_cli.jobs.store import JobStore
from sa2va_cli.jobs.watch import RunState, View
from sa2va_cli.media.discover import Discovery
from sa2va_cli.media.video import FrameSampling
from sa2va_cli.results import VideoOptions
from sa2va_cli.runners import get_runner
from sa2va_cli.runners.crew import CrewPlan
from sa2va_cli.runners.devices import choose_batch_size, choose_devices
from sa2va_cli.runners.supervisor import OnDone, Supervisor, ignore
from sa2va_cli.tasks import get_task
from sa2va_cli.tasks.region_source import open_regions

DECODER_SECONDS = 60.0  # without a sign of life from a video's decoder


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that was looked at and checked, down to the model's files."""

    config: JobConfig
    job_dir: Path
    found: Discovery
    devices: tuple[str, ...]
    settings: Settings
    load: Loader

    @property
    def renewal(self) -> Renewal:
        return Renewal(self.config.force, self.config.retry_failed)


def prepare(config: JobConfig, source: ModelSource) -> Prepared:
    """Everything that a user can get wrong is told here, before anything is written.

    Raises UsageError or CheckpointError.
    """
    output = config.output
    if output is None:
        raise UsageError("No output folder.", hint="name one with -o")
    shard = parse_shard(config.shard) if config.shard else None
    job_dir = output / shard.folder if shard else output
    check_output(output, writing=not config.dry_run)
    check_values(config)
    frame_sampling(config)
    config = _with_prompts(config)
    _check_regions(config)
    get_runner(config.runner)
    devices = choose_devices(config.devices, config.workers_per_device)
    choose_batch_size(config.batch_size, devices)
    revision, load = source.prepare()
    found = _with_regions(_take_shard(find_inputs(config, output), shard), config)
    _check_asked(config, found)
    return Prepared(config, job_dir, found, devices, job_settings(config, revision), load)


def look_ahead(prepared: Prepared) -> Plan:
    """What a run would do; nothing is written."""
    store = JobStore.peek(prepared.job_dir)
    try:
        check_settings(store, prepared.settings, prepared.config.force)
        note_found(store, prepared.found.items, prepared.found.problems)
        return compare(store, prepared.renewal)
    finally:
        store.close()


def run(
    prepared: Prepared, lock: JobLock, view: View, stop: StopSignals, on_done: OnDone = ignore
) -> RunState:
    """Do what is to be done. `stop` tells whether it came to an end.

    `lock` is held on the job folder, until the last file is written that is made of the results.
    Raises JobLockedError when it is lost, UsageError for other settings than before, JobError.
    """
    store = JobStore.open(prepared.job_dir, lock.check, Patience(view.say, stop).wait)
    try:
        check_settings(store, prepared.settings, prepared.config.force)
        adopt_settings(store, prepared.settings)
        store.commit()
        note_found(store, prepared.found.items, prepared.found.problems)
        plan, todo = apply(store, prepared.renewal)
        prepared = replace(prepared, found=Discovery((), (), 0))  # 200,000 items weigh
        state = RunState(plan.total, plan.done, plan.failed + plan.problems)
        view.say(_beginning(plan, prepared))
        for failure in plan.news:
            view.item_failed(failure)
        Supervisor(_crew(prepared), todo, store, view, state).run(stop, on_done)
        return state
    finally:
        store.close()


def _beginning(plan: Plan, prepared: Prepared) -> str:
    devices = ", ".join(dict.fromkeys(prepared.devices))
    counts = f"{plan.todo} item{'' if plan.todo == 1 else 's'} to do"
    counts += f", {plan.done} done before" if plan.done else ""
    counts += f", {plan.failed} failed before" if plan.failed else ""
    counts += f", {plan.problems} cannot be used" if plan.problems else ""
    if not plan.todo:
        return counts
    compiling = ", and compiling it: minutes, the first time" if prepared.config.compile else ""
    return f"{counts}; loading {prepared.config.model} on {devices}{compiling}"


def _crew(prepared: Prepared) -> CrewPlan:
    config = prepared.config
    return CrewPlan(
        start=get_runner(config.runner),
        devices=prepared.devices,
        load=prepared.load,
        asking=Asking(
            task=config.task,
            prompts=config.prompts,
            regions=config.regions,
            sampling=frame_sampling(config),
            video_options=video_options(config),
            max_pixels=config.max_pixels,
            presence=config.presence == "ask",
            # Before the worker that waits for it would be taken for hung.
            frame_timeout=min(DECODER_SECONDS, config.item_timeout / 3),
        ),
        log_dir=prepared.job_dir / "logs",
        item_timeout=config.item_timeout,
        batch_size=choose_batch_size(config.batch_size, prepared.devices),
    )


def frame_sampling(config: JobConfig) -> FrameSampling:
    return FrameSampling(
        start=config.start,
        end=config.end,
        fps=config.fps,
        every=config.every,
        max_frames=config.max_frames,
        between=config.track_all,
    )


def video_options(config: JobConfig) -> VideoOptions:
    return VideoOptions(
        key_frames=config.key_frames,
        key_sampling=config.key_sampling,  # type: ignore[arg-type]  # check_values knows the words
        mode=config.video_mode,  # type: ignore[arg-type]
        window=config.window,
        overlap=config.overlap,
    )


def _with_prompts(config: JobConfig) -> JobConfig:
    """Those given, each asked once however often and wherever it is given, or the task's own."""
    task = get_task(config.task)
    prompts = tuple(dict.fromkeys(config.prompts)) or task.default_prompts
    if not prompts and not config.manifest:
        raise UsageError(
            f"--task {config.task} needs to know what to look for.",
            hint='give -p "the red car", as often as you like, or --prompts FILE',
        )
    return replace(config, prompts=prompts)


def _check_regions(config: JobConfig) -> None:
    """They are there, can be read, and the task talks about them."""
    needed = get_task(config.task).needs_region
    if needed and config.regions is None:
        raise UsageError(
            f"--task {config.task} needs to know the regions.",
            hint="give a folder of mask PNGs, or a COCO file, with --regions",
        )
    if config.regions is not None and not needed:
        raise UsageError(
            f"--regions does not go with --task {config.task}.", hint="use --task region"
        )
    if config.regions is not None:
        open_regions(config.regions)


def _with_regions(found: Discovery, config: JobConfig) -> Discovery:
    """An item whose regions were drawn anew is a changed item."""
    if config.regions is None:
        return found
    source = open_regions(config.regions)
    marked = (replace(item, regions=source.mark(item.item_id)) for item in found.items)
    return replace(found, items=tuple(marked))


def _check_asked(config: JobConfig, found: Discovery) -> None:
    """A manifest may leave prompts to the job: then the job must have some."""
    unasked = next((item for item in found.items if not item.prompts), None)
    if unasked and not config.prompts:
        raise UsageError(
            f"{unasked.item_id} has no prompt in the manifest, and the job has none.",
            hint="give -p for all files that have no prompts of their own",
        )


def _take_shard(found: Discovery, shard: Shard | None) -> Discovery:
    return Discovery(
        tuple(in_shard(found.items, shard)), tuple(in_shard(found.problems, shard)), found.skipped
    )
