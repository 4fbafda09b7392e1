from sa2va_cli.jobs.plan import Queue
from sa2va_cli.jobs.watch import WorkerState
from sa2va_cli.media.item import MediaItem
from sa2va_cli.runners.dispatch import Dispatcher
from sa2va_cli.runners.slot import Slot


def slot(device: str) -> Slot:
    return Slot(device, WorkerState(device))


def video() -> MediaItem:
    return MediaItem("clip.mp4", "clip.mp4", "video", 1, 1)


def give(dispatcher: Dispatcher, to: Slot, slots: list[Slot]) -> int | None:
    item = dispatcher.next_for(to, slots)
    if item is not None:
        to.in_work[item] = str(item)
    return item


def test_a_worker_opens_one_item_ahead_but_not_near_the_end():
    a, b = slots = [slot("cuda:0"), slot("cuda:1")]
    dispatcher = Dispatcher(Queue([1, 2, 3, 4, 5], ()), 2)
    assert [give(dispatcher, a, slots) for _ in range(3)] == [1, 2, None]
    assert [give(dispatcher, b, slots) for _ in range(3)] == [3, 4, None]
    for item in (1, 2, 3):
        (a if item < 3 else b).forget(item)
    assert [give(dispatcher, a, slots) for _ in range(2)] == [5, None]
    few = Dispatcher(Queue([1, 2, 3], ()), 2)
    c, d = pair = [slot("cuda:0"), slot("cuda:1")]
    assert [give(few, one, pair) for one in (c, c, d, d)] == [1, None, 2, None]


def test_the_last_items_are_shared_out():
    slots = [slot(f"cuda:{index}") for index in range(4)]
    dispatcher = Dispatcher(Queue(list(range(12)), ()), 16)
    for one in slots:
        while give(dispatcher, one, slots) is not None:
            pass
    assert [len(one.in_work) for one in slots] == [3, 3, 3, 3]


def test_a_single_worker_has_all_that_is_left():
    only = slot("cuda:0")
    dispatcher = Dispatcher(Queue(list(range(24)), ()), 16)
    while give(dispatcher, only, [only]) is not None:
        pass
    for item in range(8):
        only.forget(item)
    while give(dispatcher, only, [only]) is not None:
        pass
    assert len(only.in_work) == 16 and not len(dispatcher)


def test_videos_wait_for_whoever_is_free():
    busy, free = slots = [slot("cuda:0"), slot("cuda:1")]
    dispatcher = Dispatcher(Queue(list(range(40)), ()), 16)
    for _ in range(3):
        item = dispatcher.next_for(busy, slots)
        if item is not None:
            busy.take(item, video())
    assert len(busy.in_work) == 2
    assert dispatcher.next_for(free, slots) == 2
    busy.forget(0)
    assert dispatcher.next_for(busy, slots) == 3


def test_a_suspect_comes_last_alone_and_elsewhere():
    a, b = slots = [slot("cuda:0"), slot("cuda:1")]
    dispatcher = Dispatcher(Queue([1], ()), 2)
    dispatcher.suspect(7, "cuda:0")
    assert give(dispatcher, b, slots) == 1
    assert give(dispatcher, a, slots) is None, "the worker died there"
    b.forget(1)
    assert give(dispatcher, b, slots) == 7
    dispatcher.give_back(8)
    assert give(dispatcher, b, slots) is None, "a suspect has no company"
    b.forget(7)
    assert give(dispatcher, b, slots) == 8


def test_where_there_is_no_elsewhere_a_suspect_is_tried_in_the_same_place():
    only = slot("cpu")
    dispatcher = Dispatcher(Queue([], [3]), 2)
    dispatcher.suspect(4, "cpu")
    assert give(dispatcher, only, [only]) == 3
    only.forget(3)
    assert give(dispatcher, only, [only]) == 4


def test_what_a_dead_worker_had_not_begun_comes_first():
    only = slot("cpu")
    dispatcher = Dispatcher(Queue([1, 2, 3], ()), 2)
    assert give(dispatcher, only, [only]) == 1
    only.forget(1)
    dispatcher.give_back(1)
    assert give(dispatcher, only, [only]) == 1
