"""The only place where an error becomes an exit code, and is told: to people or to programs."""

import json
import sys
from collections.abc import Callable
from typing import TypeVar

import typer

from sa2va_cli.cli.exit_codes import exit_code
from sa2va_cli.errors import Sa2vaError

T = TypeVar("T")


def run_guarded(command: Callable[[], T], json_log: bool = False) -> T:
    """The command's result. With `json_log` an error is a line like those of JsonView."""
    try:
        return command()
    except Sa2vaError as error:
        code = exit_code(error)
        if json_log:
            message, _, hint = str(error).partition("\nHint: ")
            event = {"type": "fatal", "message": message, "hint": hint, "exit_code": code}
            typer.echo(json.dumps(event), err=True)
        else:
            typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(code)
