"""`sa2va` on the terminal that is its standard input, with a model that can be slowed down."""

import fcntl
import sys
import termios
import time
from pathlib import Path

from sa2va_cli.cli.app import main

SLOW = Path("slow")  # while this file is there, a token takes
SECONDS = 1.0


def slow_down():
    from sa2va_cli.models.sa2va.generation import Generator

    step = Generator._step

    def slow_step(*arguments, **options):
        if SLOW.exists():
            time.sleep(SECONDS)
        step(*arguments, **options)

    Generator._step = slow_step


if __name__ == "__main__":
    fcntl.ioctl(sys.stdin, termios.TIOCSCTTY, 0)  # so that Ctrl-C there is a signal here
    slow_down()
    main()
