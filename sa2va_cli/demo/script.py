"""A user's mistake ends a script of this package with two lines, and before anything is done."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from sa2va_cli.errors import Sa2vaError, UsageError

ELSEWHERE = "name another folder"


def run_script(main: Callable[[], None]) -> None:
    """Exit code 2 for what the user can mend."""
    try:
        main()
    except Sa2vaError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)


def at_least(least: int) -> Callable[[str], int]:
    """A type for argparse: a whole number that is not less."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is less than {least}")
        return value

    return number


def above_zero(text: str) -> float:
    """A type for argparse: a number."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def writable_folder(folder: Path) -> None:
    """It is made if need be. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot write to {folder}: {error.strerror}.", hint=ELSEWHERE) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"You may not write to {folder}.", hint=ELSEWHERE)
