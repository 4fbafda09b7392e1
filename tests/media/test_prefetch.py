import threading

import pytest

from sa2va_cli.media.prefetch import prefetch, prefetch_batches


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
    batches = prefetch_batches(range(7), 3, lambda number: number != 4)
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
    assert list(prefetch_batches(range(4), 1, lambda _: True)) == [[0], [1], [2], [3]]
    assert list(prefetch_batches([], 4, lambda _: True)) == []

    def broken():
        yield 1
        raise ValueError("no second")

    batches = prefetch_batches(broken(), 4, lambda _: True)
    assert next(batches) == [1]
    with pytest.raises(ValueError, match="no second"):
        next(batches)
