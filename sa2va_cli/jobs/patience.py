"""What a run does while another program's reading keeps it from writing its results."""

from collections.abc import Callable

from sa2va_cli.jobs.schema import STORE_NAME
from sa2va_cli.jobs.stop import StopSignals

SHORT_SECONDS = 5.0  # what reads in pages, as ours does, is out of the way long before


class Patience:
    """It waits for as long as it takes, tells so once, and ends the run if a signal asks it to."""

    def __init__(self, say: Callable[[str], None], stop: StopSignals) -> None:
        self._say = say
        self._stop = stop
        self._told = False

    def wait(self, seconds: float) -> None:
        """Called again and again, `seconds` after the wait began. Raises SystemExit."""
        if seconds < SHORT_SECONDS:
            return
        if not self._told:
            self._told = True
            self._say(f"waiting: another program reads {STORE_NAME}, and has not let go of it")
        if self._stop.exit_code is not None:  # what could not be stored is done again
            raise SystemExit(self._stop.exit_code)
