import threading
from concurrent.futures import Future

import pytest

from sa2va_cli.prefetch import prefetch, prefetch_batches, prefetch_made


def same(element):
    return element


def test_order_and_elements_stay():
    assert list(prefetch(range(100), 3)) == list(range(100))
    assert list(prefetch([], 3)) == []


def test_it_works_ahead_by_its_depth_and_no_further():
    made = []

    def numbers():
        for number in range(20):
            made.append(number)
            yield number

    ahead = prefetch(numbers(), 3)
    assert next(ahead) == 0
    while len(made) < 4:
        threading.Event().wait(0.005)
    threading.Event().wait(0.05)
    assert made == [0, 1, 2, 3]
    ahead.close()


def test_an_error_comes_where_its_element_would():
    def broken():
        yield 1
        raise ValueError("no second")

    ahead = prefetch(broken(), 5)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="no second"):
        next(ahead)


def test_closing_ends_the_thread_and_the_iterable():
    closed_in = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed_in.append(threading.current_thread())

    ahead = prefetch(endless(), 2)
    next(ahead)
    ahead.close()
    assert closed_in != [threading.current_thread()]
    assert not closed_in[0].is_alive()


def test_what_is_made_already_comes_together():
    batches = prefetch_batches(range(7), same, lambda number: number != 4, 3)
    first = next(batches)
    rest = []
    for batch in batches:
        rest.append(batch)
        threading.Event().wait(0.1)  # the thread goes ahead
    flat = [number for batch in [first, *rest] for number in batch]
    assert flat == list(range(7))
    assert [4] in rest and max(len(batch) for batch in rest) <= 3
    assert any(len(batch) > 1 for batch in rest)


def test_batches_of_one_are_single_elements_and_errors_come_in_their_place():
    assert list(prefetch_batches(range(4), same, lambda _: True, 1)) == [[0], [1], [2], [3]]
    assert list(prefetch_batches([], same, lambda _: True, 4)) == []

    def broken():
        yield 1
        raise ValueError("no second")

    batches = prefetch_batches(broken(), same, lambda _: True, 4)
    assert next(batches) == [1]
    with pytest.raises(ValueError, match="no second"):
        next(batches)


def test_several_threads_work_at_a_time_on_elements_that_are_taken_one_by_one():
    together = threading.Barrier(3)

    def numbers():  # a generator that two threads enter raises ValueError
        for number in range(9):
            threading.Event().wait(0.002)
            yield number

    def make(number):
        together.wait(timeout=10)  # until three are here
        return -number

    assert list(prefetch_made(numbers(), make, 4, threads=3)) == [-number for number in range(9)]


def test_what_cannot_be_made_is_an_error_in_its_place():
    made = prefetch_made([1, 2, 0, 4], lambda number: 1 / number, 4, threads=2)
    assert [next(made), next(made)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_closing_waits_for_all_threads_before_the_iterable_is_closed():
    events = []
    begun = threading.Event()

    def endless():
        try:
            while True:
                yield 1
        finally:
            events.append("closed")

    def make(number):
        begun.set()
        threading.Event().wait(0.05)
        events.append("made")

    ahead = prefetch_made(endless(), make, 4, threads=2)
    next(ahead)
    begun.clear()
    begun.wait(timeout=10)
    ahead.close()
    assert events.count("made") >= 2 and events[-1] == "closed"


def test_closing_cancels_nothing_that_a_running_thread_waits_for(monkeypatch):
    cancel = Future.cancel

    def slow_cancel(future):
        threading.Event().wait(0.006)
        return cancel(future)

    monkeypatch.setattr(Future, "cancel", slow_cancel)

    def endless():
        while True:
            threading.Event().wait(0.004)
            yield 1

    def close_early():
        for _ in range(20):
            ahead = prefetch(endless(), 4)
            next(ahead)
            ahead.close()

    closing = threading.Thread(target=close_early, daemon=True)
    closing.start()
    closing.join(timeout=20)
    assert not closing.is_alive()


def test_batches_are_made_ahead_by_as_many_as_there_are_threads():
    together = threading.Barrier(3)

    def make(number):
        together.wait(timeout=10)
        return number

    batches = prefetch_batches(range(6), make, lambda _: True, 1, threads=3)
    assert list(batches) == [[number] for number in range(6)]
