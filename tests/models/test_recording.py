"""CUDA graphs, on a GPU that is pretended: what is replayed computes anew, and only what recurs."""

import pytest
import torch

from sa2va_cli.jobs.out_of_memory import free_memory
from sa2va_cli.models.sa2va import recording
from sa2va_cli.models.sa2va.recording import (
    RECURRENCE,
    Recorded,
    Room,
    record_networks,
)
from tests.models.pretend_gpu import GPU, PretendGpu


@pytest.fixture(autouse=True)
def a_gpu():
    with PretendGpu(), torch.inference_mode():
        yield


class Counting:
    """A function that tells how often Python ran it."""

    def __init__(self):
        self.runs = 0

    def __call__(self, values, *, others, factor):
        self.runs += 1
        return values * factor + others[0], (others[1].sin(),)


def arguments(seed, rows=3, factor=2.0):
    torch.manual_seed(seed)
    values, *others = (torch.randn(rows, 4).to(GPU) for _ in range(3))
    return (values,), {"others": others, "factor": factor}


def check(recorded, args, kwargs):
    result = recorded(*args, **kwargs)
    expected = Counting()(*args, **kwargs)
    torch.testing.assert_close(result[0].cpu(), expected[0].cpu())
    torch.testing.assert_close(result[1][0].cpu(), expected[1][0].cpu())
    return result


def test_what_comes_for_the_third_time_is_replayed_with_other_numbers():
    run = Counting()
    recorded = Recorded(run, Room(GPU))
    results = [check(recorded, *arguments(seed)) for seed in range(6)]
    assert run.runs == RECURRENCE == 3  # the third is the recording
    # Nobody's result is overwritten by a later one.
    expected = Counting()(*arguments(3)[0], **arguments(3)[1])
    torch.testing.assert_close(results[3][0].cpu(), expected[0].cpu())


def test_other_shapes_layouts_and_settings_are_recordings_of_their_own():
    run = Counting()
    recorded = Recorded(run, Room(GPU))
    for seed in range(8):
        check(recorded, *arguments(seed))
        check(recorded, *arguments(seed, rows=5))
        check(recorded, *arguments(seed, factor=3.0))
        (values,), kwargs = arguments(seed, rows=4)
        check(recorded, (values.T,), kwargs)
    assert run.runs == 4 * RECURRENCE


@pytest.mark.parametrize(
    ("name", "value"), [("MAX_RECORDINGS", 0), ("MAX_BYTES", 47), ("FREE_BYTES", 2**41)]
)
def test_what_would_take_too_much_memory_is_not_recorded(name, value, monkeypatch):
    monkeypatch.setattr(recording, name, value)
    run = Counting()
    recorded = Recorded(run, Room(GPU))
    for seed in range(6):
        check(recorded, *arguments(seed))
    assert run.runs == 6


def test_a_network_s_hooks_see_every_call():
    network, seen = torch.nn.GELU(), []
    record_networks([network], GPU)
    network.register_forward_hook(lambda *_: seen.append(1))
    for seed in range(5):
        torch.manual_seed(seed)
        values = torch.randn(2, 4).to(GPU)
        expected = torch.nn.functional.gelu(values)
        torch.testing.assert_close(network(values).cpu(), expected.cpu())
    assert len(seen) == 5


def test_what_cannot_be_recorded_is_run_and_tried_again_much_later(monkeypatch):
    tried = []

    def fail(*_, **__):
        tried.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.cuda, "graph", fail)
    monkeypatch.setattr(recording, "PATIENCE", 5)
    room = Room(GPU)
    run, pool = Counting(), room.pool
    recorded = Recorded(run, room)
    for seed in range(9):
        check(recorded, *arguments(seed))
    assert run.runs == 9 and len(tried) == 2  # at the third and the eighth
    assert room.pool is not pool  # what failed may have spoiled it


def test_where_memory_is_short_recordings_are_forgotten():
    run = Counting()
    recorded = Recorded(run, Room(GPU))
    for seed in range(4):
        check(recorded, *arguments(seed))
    free_memory()
    for seed in range(4):
        check(recorded, *arguments(seed))
    assert run.runs == 2 * RECURRENCE


def test_who_wants_gradients_gets_them():
    recorded = Recorded(lambda values: values * values, Room(GPU))
    with torch.inference_mode(False):
        for _ in range(5):
            values = torch.ones(2, requires_grad=True)
            recorded(values).sum().backward()
            assert values.grad.tolist() == [2, 2]


def test_each_model_has_memory_of_its_own_for_recordings():
    networks = [torch.nn.GELU() for _ in range(3)]
    record_networks(networks[:2], GPU)
    record_networks(networks[2:], GPU)
    one, same, other = (network.forward._room for network in networks)
    assert one is same and one.pool is not other.pool
