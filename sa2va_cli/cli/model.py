"""`sa2va model`: look at checkpoints."""

import json
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look at model checkpoints.")


@app.callback()
def describe() -> None:
    """Look at model checkpoints."""


@app.command()
def info(
    model: Annotated[
        str, typer.Argument(help="Checkpoint folder, hub name (ByteDance/Sa2VA-4B) or 'demo'.")
    ],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a hub model.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use only what was downloaded before.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print architecture, sizes, parameters, number format and licences of a checkpoint.

    Weights are not loaded, and for a hub model not even downloaded.

    Example: sa2va model info ByteDance/Sa2VA-4B
    """
    from sa2va_cli.models.sa2va.info import model_info  # torch costs seconds: not for --help

    found = model_info(model, revision, local_files_only=offline)
    typer.echo(json.dumps(found.to_json(), indent=2) if as_json else "\n".join(found.lines()))
