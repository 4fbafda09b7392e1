import time

import pytest

from sa2va_cli.config import JobConfig, Prompt
from sa2va_cli.jobs.reader import StoreReader
from sa2va_cli.jobs.stop import StopSignals
from sa2va_cli.jobs.watch import NoView
from sa2va_cli.runners.job import prepare, run
from tests.jobs.tiny import TinySource, write_pictures


@pytest.mark.parametrize("runner", ["local", "multi_gpu"])
def test_thin(tmp_path, runner):
    write_pictures(tmp_path / "in", 12)
    config = JobConfig(
        inputs=(str(tmp_path / "in"),),
        output=tmp_path / "out",
        prompts=(Prompt("car", "the car"), Prompt("b", "x")),
        devices="cpu:2",
        runner=runner,
    )
    t = time.time()
    state = run(prepare(config, TinySource()), NoView(), StopSignals())
    print(state, time.time() - t)
    assert state.done == 12
    with StoreReader(tmp_path / "out") as reader:
        items = list(reader.items())
        assert len(items) == 12
        print(items[0], list(reader.masks(items[0].item_id)))
    state = run(prepare(config, TinySource()), NoView(), StopSignals())
    assert state.done == 0 and state.done_before == 12
