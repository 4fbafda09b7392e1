import multiprocessing

import pytest
import torch.multiprocessing

from sa2va_cli.errors import UsageError
from sa2va_cli.resources import usable_cores
from sa2va_cli.runners.crew import CrewPlan, worker_names
from sa2va_cli.runners.devices import (
    CPU_WORKERS,
    choose_batch_size,
    choose_devices,
)


def test_the_spawn_context_is_that_of_torch():
    assert torch.multiprocessing.get_context is multiprocessing.get_context


@pytest.mark.parametrize(
    ("text", "per_device", "devices"),
    [
        ("cpu", 1, ("cpu",)),
        ("cpu:2", 1, ("cpu", "cpu")),
        ("CPU", 3, ("cpu", "cpu", "cpu")),
    ],
)
def test_devices_are_one_name_for_each_worker(text, per_device, devices):
    assert choose_devices(text, per_device) == devices


@pytest.mark.parametrize("text", ["", "gpu", "cpu:0", "cpu:-1", "cuda:x", "1.5"])
def test_what_is_no_device_is_refused(text):
    with pytest.raises(UsageError, match="Unknown device"):
        choose_devices(text)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there are CUDA devices here")
@pytest.mark.parametrize("text", ["cuda", "0", "cuda:3", "0,1"])
def test_a_device_that_is_not_there_is_refused(text):
    with pytest.raises(UsageError, match=r"There is no CUDA device.*found: none"):
        choose_devices(text)


@pytest.mark.parametrize("text", ["auto", "cuda", "1"])
def test_devices_that_torch_cannot_use_are_told_before_a_worker_starts(text, tmp_path, monkeypatch):
    """A driver that is too old lists its devices all the same."""
    monkeypatch.setattr("sa2va_cli.runners.devices.DRIVERS", (str(tmp_path),))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="cannot use the 8 CUDA devices"):
        choose_devices(text)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_devices("auto") == tuple(f"cuda:{number}" for number in range(8))
    assert choose_devices("6,cuda:2", 2) == ("cuda:6", "cuda:6", "cuda:2", "cuda:2")


def test_auto_is_the_processor_where_there_is_no_gpu():
    expected = torch.cuda.device_count() or min(usable_cores(), CPU_WORKERS)
    assert len(choose_devices("auto")) == expected


def test_no_workers_per_device_is_refused():
    with pytest.raises(UsageError, match="no number of workers"):
        choose_devices("cpu", 0)


def test_workers_have_names_of_their_own():
    assert worker_names(("cpu", "cuda:0", "cpu")) == ["cpu-1", "cuda:0", "cpu-2"]


def test_workers_share_the_cores_but_on_the_processor_each_has_one():
    def cores(devices):
        return CrewPlan(None, devices, None, None, None, 1.0).threads

    assert cores(("cuda:0",)) == usable_cores()
    assert cores(("cuda:0",) * 500) == 1
    assert cores(("cpu",)) == cores(("cpu",) * 4) == 1  # the same sums, to the last bit


def test_batches_are_for_gpus_unless_asked_for():
    assert choose_batch_size("auto", ("cpu", "cpu")) == 1
    assert choose_batch_size("auto", ("cuda:0", "cuda:1")) > 1
    assert choose_batch_size("3", ("cpu",)) == 3
    for text in ("0", "-1", "many", "1000"):
        with pytest.raises(UsageError, match="--batch-size"):
            choose_batch_size(text, ("cpu",))
