"""What a worker says when an error ends it, or one of its threads."""

import sys
import traceback
from types import TracebackType

from sa2va_cli.jobs.messages import Crashed, Send


class LastWords:
    """Tells the supervisor which error ends this worker, and over which item.

    That is all that becomes of the error: the supervisor ends who has said such a thing.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.item: int | None = None

    def __enter__(self) -> "LastWords":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is not None:
            self._send(Crashed(self.item, one_line_of(error)))
        return error is not None


def one_line_of(error: BaseException) -> str:
    """One line for people; the whole story goes to the worker's log."""
    traceback.print_exception(error, file=sys.stderr)
    return " ".join(f"{type(error).__name__}: {error}".split())
