"""The `sa2va` command: each subcommand parses options and calls one library function."""

import sys

import typer

from sa2va_cli.cli import model
from sa2va_cli.errors import CheckpointError, JobLockedError, Sa2vaError, UsageError

EXIT_FATAL = 1
EXIT_USAGE = 2
EXIT_LOCKED = 11

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def describe() -> None:
    """Annotate folders of images and videos with Sa2VA: sentences in, masks out."""


app.add_typer(model.app, name="model")


def main() -> None:
    """Entry point of the command: the only place where an error becomes an exit code."""
    try:
        app()
    except Sa2vaError as error:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(exit_code(error))


def exit_code(error: Sa2vaError) -> int:
    if isinstance(error, UsageError | CheckpointError):
        return EXIT_USAGE
    return EXIT_LOCKED if isinstance(error, JobLockedError) else EXIT_FATAL
