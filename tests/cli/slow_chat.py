"""`sa2va` on the terminal that is its standard input; the model thinks before each token."""

import fcntl
import sys
import termios
import time

from sa2va_cli.cli.app import main

SECONDS = 0.25


def slow_down():
    from sa2va_cli.models.sa2va.generation import Generator

    step = Generator._step

    def slow_step(*arguments):
        time.sleep(SECONDS)
        step(*arguments)

    Generator._step = slow_step


if __name__ == "__main__":
    fcntl.ioctl(sys.stdin, termios.TIOCSCTTY, 0)  # so that Ctrl-C there is a signal here
    slow_down()
    main()
