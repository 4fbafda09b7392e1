"""The only place where an error becomes an exit code, and is told: to people or to programs."""

import json
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

import typer

from sa2va_cli.cli.exit_codes import exit_code
from sa2va_cli.errors import JobError, Sa2vaError

T = TypeVar("T")
NO_MEMORY = "see what else is using it (nvidia-smi), or take another device, or a smaller model"


def run_guarded(command: Callable[[], T], json_log: bool = False) -> T:
    """The command's result. With `json_log` an error is a line like those of JsonView."""
    try:
        return command()
    except Sa2vaError as error:
        _leave(error, json_log)
    except (MemoryError, RuntimeError) as error:  # of a model without a job: ask, chat, bench
        from sa2va_cli.jobs.out_of_memory import is_out_of_memory, memory_reason  # numpy

        if not is_out_of_memory(error):
            raise
        _leave(JobError(memory_reason(error), hint=NO_MEMORY), json_log)


def _leave(error: Sa2vaError, json_log: bool) -> NoReturn:
    code = exit_code(error)
    if json_log:
        message, _, hint = str(error).partition("\nHint: ")
        event = {"type": "fatal", "message": message, "hint": hint, "exit_code": code}
        typer.echo(json.dumps(event), err=True)
    else:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
    sys.exit(code)
