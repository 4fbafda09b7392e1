"""`sa2va export`: the results of a job as files, again and without a model."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from sa2va_cli.cli import options as o

OutDir = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Where to write.", show_default="the job folder"),
]


def export(
    job_dir: o.JobDir,
    formats: o.Formats = None,
    output: OutDir = None,
    coco_segmentation: o.Segmentation = None,
    min_score: o.MinScore = None,
) -> None:
    """Write the results of a job in other formats. Needs no model and no GPU.

    \b
    sa2va export out/ --format coco,masks,overlay
    sa2va export out/ --format coco --coco-segmentation polygon -o for-cvat/
    sa2va export out/ --format youtube-vis,video --min-score 0.5
    sa2va export out/ --format report && xdg-open out/report.html

    docs/formats.md tells what each format keeps and loses.
    """
    from sa2va_cli.exporters import ExportOptions, export_results, parse_formats
    from sa2va_cli.jobs.reader import StoreReader  # NumPy and OpenCV: not for --help

    names = parse_formats("coco,answers" if formats is None else formats)
    options = ExportOptions(coco_segmentation or "rle", min_score or 0.0)  # type: ignore[arg-type]
    with closing(StoreReader(job_dir)) as results:
        for exported in export_results(results, names, output or job_dir, options):
            typer.echo(exported.text(), err=True)
