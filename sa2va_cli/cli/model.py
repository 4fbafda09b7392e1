"""`sa2va model`: look at checkpoints."""

import json
from typing import Annotated

import typer

from sa2va_cli.cli import options as o
from sa2va_cli.cli.plain_help import PlainCommand, PlainGroup

Checkpoint = Annotated[
    str, typer.Argument(metavar="MODEL", help="Folder, name on the Hugging Face hub, or demo.")
]

app = typer.Typer(cls=PlainGroup, no_args_is_help=True)


@app.callback()
def describe() -> None:
    """Look at model checkpoints.

    sa2va model info ByteDance/Sa2VA-4B
    """


@app.command(cls=PlainCommand, no_args_is_help=True)
def info(
    model: Checkpoint,
    revision: o.Revision = None,
    offline: o.Offline = None,
    as_json: o.AsJson = False,
) -> None:
    """Tell what a checkpoint is: architecture, sizes, parameters, licences.

    sa2va model info ByteDance/Sa2VA-4B
    sa2va model info demo --json | jq .parameters

    Weights are not loaded, and for a hub model not even downloaded.
    """
    from sa2va_cli.models.sa2va.info import model_info  # torch costs seconds: not for --help

    found = model_info(model, revision, local_files_only=bool(offline))
    typer.echo(json.dumps(found.to_json(), indent=2) if as_json else "\n".join(found.lines()))
