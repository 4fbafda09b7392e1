"""`sa2va merge`: the parts of several machines become one job."""

from pathlib import Path
from typing import Annotated

import typer

from sa2va_cli.cli import options as o

Folders = Annotated[
    list[Path],
    typer.Argument(metavar="DIR", help="Job folders, or a folder that holds shards."),
]
MergedDir = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the united job.")
]


def merge(
    folders: Folders,
    output: MergedDir,
    formats: o.Formats = None,
    coco_segmentation: o.Segmentation = None,
    min_score: o.MinScore = None,
    min_presence: o.MinPresence = None,
) -> None:
    """Unite the parts that several machines made with --shard.

    sa2va annotate photos/ -p "a dog" -o /nfs/out --shard 1/2    # one machine
    sa2va annotate photos/ -p "a dog" -o /nfs/out --shard 2/2    # the other
    sa2va merge /nfs/out -o all/
    """
    from sa2va_cli.cli.merge_job import merge_job  # loads NumPy: not for --help
    from sa2va_cli.exporters import export_options

    options = export_options(coco_segmentation, min_score, min_presence)
    merge_job(folders, output, formats, options)
