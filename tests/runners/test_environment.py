"""What a worker's process finds in its environment, and what the user decides."""

import os
from dataclasses import dataclass

import pytest

from sa2va_cli.errors import CheckpointError
from sa2va_cli.glibc import KEEP_MEMORY
from tests.jobs.runs import job, run_job
from tests.jobs.tiny import write_pictures


@dataclass(frozen=True)
class TellTale:
    """A source and a loader that end the job with what they see."""

    def prepare(self):
        return "telling", self

    def __call__(self, device):
        names = (*sorted(KEEP_MEMORY), "OMP_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS")
        seen = [os.environ.get(name, "unset") for name in names]
        raise CheckpointError(f"It says {' '.join(seen)}.", hint="nothing")


@pytest.mark.parametrize(
    ("set_by_user", "seen"),
    [
        ({}, "0 -1 1 [1-9]"),
        ({"MALLOC_TRIM_THRESHOLD_": "99"}, "unset 99 1 [1-9]"),
        ({"TORCHINDUCTOR_COMPILE_THREADS": "77"}, "0 -1 1 77"),
    ],
)
def test_workers_on_a_processor_keep_their_memory_unless_the_user_decides(
    tmp_path, monkeypatch, set_by_user, seen
):
    for name in (*KEEP_MEMORY, "TORCHINDUCTOR_COMPILE_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**set_by_user, "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    write_pictures(tmp_path / "in", 1)
    with pytest.raises(CheckpointError, match=f"It says {seen}"):
        run_job(job(tmp_path, devices="cpu"), TellTale())
    assert dict(os.environ) == before
