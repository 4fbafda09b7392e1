import os
import threading
import time

import pytest

from sa2va_cli.exporters.parallel import MOST_THREADS, map_in_threads


def threads_used(workers: int) -> int:
    def work(_):
        time.sleep(0.001)  # while it rests, an idle thread would be taken again
        return threading.current_thread().name

    return len(set(map_in_threads(work, range(100), workers)))


def test_as_many_threads_as_are_asked_for():
    assert threads_used(3) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be taken away here")
def test_no_more_threads_than_cores_that_we_may_use():
    ours = os.sched_getaffinity(0)
    assert threads_used(0) <= min(MOST_THREADS, len(ours))
    os.sched_setaffinity(0, {min(ours)})
    try:
        assert threads_used(0) == 1
    finally:
        os.sched_setaffinity(0, ours)
