import time

from sa2va_cli.jobs.messages import Crashed
from sa2va_cli.runners.crew import ASLEEP_SECONDS, Crew, CrewPlan
from sa2va_cli.runners.slot import MAX_DEATHS, MAX_FAILED_LOADS


class SilentWorker:
    """Takes items and says nothing."""

    replaceable = True

    def __init__(self, spec, number, events) -> None:
        self.killed = False

    def send(self, work) -> None:
        pass

    def kill(self) -> None:
        self.killed = True

    def end(self) -> str:
        return "the worker was killed"


def crew_of(device: str, tmp_path) -> Crew:
    plan = CrewPlan(SilentWorker, (device,), None, None, tmp_path, item_timeout=20.0)
    crew = Crew(plan)
    crew.hire(crew.slots[0])
    crew.slots[0].ready = True
    return crew


def test_a_silent_worker_is_killed_when_it_has_work(tmp_path):
    crew = crew_of("cpu", tmp_path)
    slot = crew.slots[0]
    slot.last_sign -= 21
    crew.end_the_hung()
    assert not slot.handle.killed, "it has nothing to do"
    slot.in_work[1] = "a.png"
    crew.end_the_hung()
    assert slot.handle.killed
    assert crew.bury(slot) == "no sign of life for 20 s"


def test_time_that_the_parent_was_stopped_does_not_count(tmp_path):
    crew = crew_of("cpu", tmp_path)
    slot = crew.slots[0]
    slot.in_work[1] = "a.png"
    slot.last_sign -= 30
    crew._last_look = time.monotonic() - 30
    crew.end_the_hung()
    assert not slot.handle.killed
    assert ASLEEP_SECONDS < 30


def test_the_last_words_of_a_worker_say_why_and_over_which_item(tmp_path):
    crew = crew_of("cuda:1", tmp_path)
    slot = crew.slots[0]
    slot.in_work, slot.begun = {1: "a.png", 2: "b.png", 3: "c.png"}, {1, 2}
    assert slot.blamed() == {1, 2}, "both were opened, either may have done it"
    slot.last_words = Crashed(2, "RuntimeError: CUDA error")
    assert slot.blamed() == {2}
    assert crew.bury(slot) == "RuntimeError: CUDA error"
    assert crew.live == []


def test_a_place_is_given_up_after_too_many_deaths(tmp_path):
    slot = crew_of("cpu", tmp_path).slots[0]
    slot.failed_loads, slot.deaths = MAX_FAILED_LOADS - 1, MAX_DEATHS - 1
    assert not slot.used_up
    slot.deaths += 1
    assert slot.used_up
    slot.deaths, slot.beyond_hope = 0, True
    assert slot.used_up
