"""The `sa2va` command: each subcommand parses options and calls one library function."""

import sys
from collections.abc import Callable

import typer

from sa2va_cli.cli import model
from sa2va_cli.cli.annotate import annotate
from sa2va_cli.cli.ask import ask
from sa2va_cli.cli.bench import bench
from sa2va_cli.cli.chat import chat
from sa2va_cli.cli.exit_codes import exit_code
from sa2va_cli.cli.export import export
from sa2va_cli.cli.merge import merge
from sa2va_cli.cli.services import Services
from sa2va_cli.cli.status import status
from sa2va_cli.errors import Sa2vaError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def describe() -> None:
    """Annotate folders of images and videos with Sa2VA: sentences in, masks out."""


app.command(no_args_is_help=True)(annotate)
app.command(no_args_is_help=True)(chat)
app.command(no_args_is_help=True)(ask)
app.command(no_args_is_help=True)(status)
app.command(no_args_is_help=True)(export)
app.command(no_args_is_help=True)(merge)
app.command()(bench)
app.add_typer(model.app, name="model")


def main(services: Services | None = None) -> None:
    """Entry point of the command."""
    services = services or Services()
    services.stop.install()
    run_guarded(lambda: app(obj=services))


def run_guarded(command: Callable[[], object]) -> None:
    """The only place where an error becomes an exit code."""
    try:
        command()
    except Sa2vaError as error:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(exit_code(error))
