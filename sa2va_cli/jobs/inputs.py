"""From the inputs of a config to what is there: lists are read, folders are searched."""

import os
import sys
from glob import has_magic
from pathlib import Path
from typing import BinaryIO

from sa2va_cli.config import JobConfig
from sa2va_cli.errors import UsageError
from sa2va_cli.jobs.schema import STORE_NAME, store_path
from sa2va_cli.jobs.store import JobStore
from sa2va_cli.media.discover import DiscoverOptions, Discovery, GivenPath, discover
from sa2va_cli.media.item import OUTPUT_MARK
from sa2va_cli.media.listing import read_manifest, read_paths

STDIN = "-"


def find_inputs(config: JobConfig, job_dir: Path, stdin: BinaryIO | None = None) -> Discovery:
    """Everything that the config asks for; the job's own folder is never an input.

    Files that the job knows keep their ids, but not those of a shard: its store does not know what
    the others hold, and all shards have to agree on the ids.
    Raises UsageError when nothing is asked for, or an input lies in the job's folder; JobError when
    the job cannot be read.
    """
    given = _given_paths(config, stdin)
    if not (config.inputs or config.files_from or config.manifest):  # an empty list is no mistake
        raise UsageError(
            "There is nothing to annotate.", hint="name files or folders: sa2va annotate photos/"
        )
    _check_any_there(config)
    _check_apart(given, job_dir)
    options = DiscoverOptions(
        include=config.include,
        exclude=config.exclude,
        frames_as_video=config.frames_as_video,
        hidden=config.hidden,
        skip_folders=(os.fspath(job_dir),),
        skip_marked=(STORE_NAME, OUTPUT_MARK),  # pictures that we made
        known={} if config.shard else known_ids(job_dir),
    )
    return discover(given, options)


def known_ids(job_dir: Path) -> dict[str, str]:
    """The ids that a job has given, by the real path of each file as discover spells it."""
    path = store_path(job_dir)
    if not path.is_file() or not path.stat().st_size:
        return {}
    store = JobStore.peek(job_dir)
    try:
        query = "SELECT path, kind, item_id FROM items ORDER BY item"
        rows = store.connection.execute(query).fetchall()  # a dry run must not hold up a run
    finally:
        store.close()
    real_folders: dict[str, str] = {}
    known: dict[str, str] = {}
    for raw, kind, item_id in rows:
        whole = os.fsdecode(raw)
        folder, name = (whole, "") if kind == "frames" else os.path.split(whole)
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(folder)
        known.setdefault(os.fspath(Path(real_folders[folder], name)), item_id)
    return known


def _given_paths(config: JobConfig, stdin: BinaryIO | None) -> list[GivenPath]:
    given: list[GivenPath] = []
    for text in config.inputs:
        if text == STDIN:
            given += read_paths(stdin or _standard_input(), config.null)
        else:
            given.append(GivenPath(text))
    if config.files_from:
        given += _listed(config.files_from, config.null)
    if config.manifest:
        given += read_manifest(config.manifest)
    return given


def _standard_input() -> BinaryIO:
    if sys.stdin is None:  # closed by whoever started us
        raise UsageError(
            "Standard input, which - stands for, is closed.", hint="pipe a list of paths into it"
        )
    return sys.stdin.buffer


def _listed(path: Path, nul: bool) -> list[GivenPath]:
    try:
        with path.open("rb") as file:
            return read_paths(file, nul)
    except OSError as error:
        raise UsageError(
            f"Cannot read the list {path}: {error.strerror}.", hint="name a file with --files-from"
        ) from error


def _check_any_there(config: JobConfig) -> None:
    """One missing file among others is a failure of its own; none there is a slip of the pen."""
    if config.files_from or config.manifest or not config.inputs:
        return
    if any(text == STDIN or has_magic(text) or os.path.lexists(text) for text in config.inputs):
        return
    raise UsageError(
        f"There is no {' and no '.join(config.inputs)}.", hint="check the spelling of the inputs"
    )


def _check_apart(given: list[GivenPath], job_dir: Path) -> None:
    """Results must not become inputs."""
    job = os.path.realpath(job_dir)
    real_folders: dict[str, str] = {}  # of many files in few folders
    for path in given:
        whole = Path(path.base, path.path)
        folder = os.fspath(whole.parent)
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(folder)
        real = os.path.normpath(f"{real_folders[folder]}{os.sep}{whole.name}")
        if real == job or real.startswith(job + os.sep):
            raise UsageError(
                f"The input {path.path} lies in the output folder {job_dir}.",
                hint="give an output folder outside of what is annotated",
            )
