"""`sa2va export`: the results of a job as files, again and without a model."""

from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from sa2va_cli.cli import options as o

OutDir = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Where to write (default: the job folder).",
        show_default=False,
    ),
]


def export(
    job_dir: o.JobDir,
    formats: o.Formats = None,
    output: OutDir = None,
    coco_segmentation: o.Segmentation = None,
    min_score: o.MinScore = None,
    min_presence: o.MinPresence = None,
) -> None:
    """Write the results of a job in other formats, without a model.

    sa2va export out/ --format coco,masks,overlay
    sa2va export out/ --format coco --coco-segmentation polygon -o for-cvat/
    sa2va export out/ --format youtube-vis,video --min-score 0.5
    sa2va export out/ --format report && xdg-open out/report.html

    docs/formats.md tells what each format keeps and loses. While a run is at
    work, write elsewhere with -o.
    """
    from sa2va_cli.cli.formats import chosen_formats
    from sa2va_cli.exporters import export_options, export_results
    from sa2va_cli.jobs.lock import JobLock
    from sa2va_cli.jobs.originals import count_changed
    from sa2va_cli.jobs.progress import visible_lines
    from sa2va_cli.jobs.reader import StoreReader  # NumPy and OpenCV: not for --help
    from sa2va_cli.jobs.schema import holds_job

    options = export_options(coco_segmentation, min_score, min_presence)
    with closing(StoreReader(job_dir)) as results:
        names = chosen_formats(formats, results.has_videos())
        target = output or job_dir
        # A run writes the same files at its end.
        with JobLock(target) if holds_job(target) else nullcontext():
            written = export_results(results, names, target, options)
        changed = count_changed(results)
    for exported in written:
        typer.echo(visible_lines(exported.text()), err=True)
    if changed:
        typer.echo(
            f"Changed since they were annotated: {changed}. Masks may not fit: annotate again.",
            err=True,
        )
