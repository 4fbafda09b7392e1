"""Merging from folders to files: unite the stores, export, say what is missing."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import typer

from sa2va_cli.cli.formats import chosen_formats, with_failures
from sa2va_cli.exporters import ExportOptions, export_results
from sa2va_cli.jobs.lock import JobLock
from sa2va_cli.jobs.merge import merge_jobs
from sa2va_cli.jobs.progress import visible_lines
from sa2va_cli.jobs.reader import StoreReader


def merge_job(
    folders: Sequence[Path], output: Path, formats: str | None, options: ExportOptions
) -> None:
    """Talk goes to standard error. Raises Sa2vaError."""
    chosen_formats(formats, has_videos=False)  # an unknown one is told before anything is done
    merged = merge_jobs(folders, output)
    for name in merged.missing_shards:
        typer.echo(f"Warning: {name} is not among the parts.", err=True)
    with JobLock(output), closing(StoreReader(output)) as results:
        names = with_failures(chosen_formats(formats, results.has_videos()))
        exported = export_results(results, names, output, options)
    counts = f"{merged.done} done, {merged.failed} failed, {merged.left} left"
    typer.echo(visible_lines(f"{merged.stores} parts united in {output}: {counts}."), err=True)
    for one in exported:
        typer.echo(visible_lines(one.text()), err=True)
