"""The only place where an error becomes an exit code, and is told: to people or to programs."""

import errno
import json
import os
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

import typer

from sa2va_cli.cli.exit_codes import exit_code
from sa2va_cli.errors import JobError, Sa2vaError, UsageError

T = TypeVar("T")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, a file


def run_guarded(command: Callable[[], T], json_log: bool = False) -> T:
    """The command's result. With `json_log` an error is a line like those of JsonView."""
    try:
        return command()
    except Sa2vaError as error:
        _give_up_stdout()
        _end(error, json_log)
    except OSError as error:
        if error.errno not in FULL:  # Typer ends for a broken pipe; any other is a bug
            raise
        _give_up_stdout()
        full = JobError(  # files are written where it is told which
            f"Cannot write to standard output: {error.strerror}.",
            hint="free some space, or send it elsewhere",
        )
        _end(full, json_log)


def require_stdout() -> None:
    """Raises UsageError if it is closed (`>&-`): asked before any work whose result goes there."""
    if sys.stdout is None:
        raise UsageError(
            "Standard output is closed.", hint="send it to a file or a program, or to /dev/null"
        )


def _end(error: Sa2vaError, json_log: bool) -> NoReturn:
    code = exit_code(error)
    if json_log:
        message, _, hint = str(error).partition("\nHint: ")
        event = {"type": "fatal", "message": message, "hint": hint, "exit_code": code}
        typer.echo(json.dumps(event), err=True)
    else:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
    sys.exit(code)


def _give_up_stdout() -> None:
    """If it takes no more: what is left for it would fail again when Python ends."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
