"""The only place where an error becomes an exit code, and is told: to people or to programs."""

import errno
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from typing import TypeVar

import typer

from sa2va_cli.cli.exit_codes import exit_code
from sa2va_cli.errors import JobError, Sa2vaError, UsageError
from sa2va_cli.jobs.schema import STORE_NAME

T = TypeVar("T")
DAMAGE = (sqlite3.DatabaseError, sqlite3.OperationalError)  # their other kinds are bugs
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, a file


def run_guarded(command: Callable[[], T], json_log: bool = False) -> T:
    """The command's result. With `json_log` an error is a line like those of JsonView."""
    told: Sa2vaError
    try:
        return command()
    except Sa2vaError as error:
        told = error
    except sqlite3.DatabaseError as error:
        if type(error) not in DAMAGE:
            raise
        told = JobError(  # of a full disk the store tells itself
            f"The job's file {STORE_NAME} cannot be read: {error}.",
            hint="it or its disk is damaged: put a copy in its place, or begin anew in another "
            "folder; what was exported is whole",
        )
    except OSError as error:
        if error.errno not in FULL:  # Typer ends for a broken pipe; any other is a bug
            raise
        told = JobError(  # files are written where it is told which
            f"Cannot write to standard output: {error.strerror}.",
            hint="free some space, or send it elsewhere",
        )
    except (MemoryError, RuntimeError) as error:  # of a model without a job: ask, chat, bench
        told = _no_memory(error)
    _give_up_stdout()
    sys.exit(_tell(told, json_log))


def require_stdout() -> None:
    """Raises UsageError if it is closed (`>&-`): asked before any work whose result goes there."""
    if sys.stdout is None:
        raise UsageError(
            "Standard output is closed.", hint="send it to a file or a program, or to /dev/null"
        )


def print_error(text: str, *, err: bool) -> None:
    """In red on a terminal, unless it is asked to do without colours (no-color.org)."""
    plain = bool(os.environ.get("NO_COLOR"))
    typer.secho(text, fg=None if plain else typer.colors.RED, err=err)


def _no_memory(error: MemoryError | RuntimeError) -> Sa2vaError:
    """Raises the error again if it is another."""
    from sa2va_cli.jobs.out_of_memory import is_out_of_memory, memory_reason  # numpy

    if not is_out_of_memory(error):
        raise error
    return JobError(
        memory_reason(error),
        hint="see what else is using it (nvidia-smi), or take another device, or a smaller model",
    )


def _tell(error: Sa2vaError, json_log: bool) -> int:
    """Returns the exit code."""
    code = exit_code(error)
    if json_log:
        message, _, hint = str(error).partition("\nHint: ")
        event = {"type": "fatal", "message": message, "hint": hint, "exit_code": code}
        typer.echo(json.dumps(event), err=True)
    else:
        print_error(f"Error: {error}", err=True)
    return code


def _give_up_stdout() -> None:
    """If it takes no more: what is left for it would fail again when Python ends."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
