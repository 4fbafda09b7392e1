"""What the parent does with what comes through a worker's pipe."""

import multiprocessing
import queue
from pickle import UnpicklingError

import pytest

from sa2va_cli.jobs.messages import Gone, Ready
from sa2va_cli.runners.multi_gpu import _listen


def test_a_message_that_cannot_be_read_is_the_end_of_the_worker():
    ours, theirs = multiprocessing.Pipe()
    events = queue.Queue()
    theirs.send(Ready(1.0))
    theirs.send_bytes(b"no message")
    with pytest.raises(UnpicklingError):
        _listen(ours, 3, events)
    assert [events.get_nowait() for _ in range(2)] == [(3, Ready(1.0)), (3, Gone())]
