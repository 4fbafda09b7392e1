import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from sa2va_cli.errors import JobError, JobLockedError
from sa2va_cli.jobs import lock as locking
from sa2va_cli.jobs.lock import Holder, JobLock, read_holder
from tests.jobs.runs import wait_for

HOLD = """
import sys, time
from pathlib import Path
from sa2va_cli.jobs.lock import JobLock
with JobLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def write_holder(job_dir, age: float, **changes) -> None:
    """A lock file as a run on another machine wrote it, `age` seconds ago."""
    elsewhere = replace(Holder.me(), host="elsewhere", boot_id="other-kernel", **changes)
    path = job_dir / "job.lock"
    path.write_text(json.dumps(asdict(elsewhere)))
    os.utime(path, (time.time() - age,) * 2)


def test_a_second_run_is_refused_at_once_and_told_who_is_there(tmp_path):
    with JobLock(tmp_path):
        started = time.monotonic()
        with pytest.raises(
            JobLockedError, match=f"process {os.getpid()} on {socket.gethostname()}"
        ):
            JobLock(tmp_path).__enter__()
        assert time.monotonic() - started < 10


def test_after_a_run_the_folder_is_free(tmp_path):
    for _ in range(2):
        with JobLock(tmp_path):
            assert read_holder(tmp_path).pid == os.getpid()
    assert read_holder(tmp_path) is None


def test_a_killed_run_leaves_no_lock_behind(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE)
    holder.stdout.readline()
    assert read_holder(tmp_path).pid == holder.pid
    with pytest.raises(JobLockedError, match=f"process {holder.pid}"):
        JobLock(tmp_path).__enter__()
    holder.kill()
    holder.communicate()
    assert read_holder(tmp_path) is None
    with JobLock(tmp_path):
        pass


def test_a_run_on_another_machine_that_gave_a_sign_of_life_is_respected(tmp_path):
    """As on a disk that does not pass locks on: only the file tells."""
    write_holder(tmp_path, age=5)
    with pytest.raises(JobLockedError, match="on elsewhere"):
        JobLock(tmp_path).__enter__()
    assert read_holder(tmp_path).host == "elsewhere"


def test_a_run_on_another_machine_that_fell_silent_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "SETTLE_SECONDS", 0.01)
    write_holder(tmp_path, age=90)
    assert read_holder(tmp_path) is None
    with JobLock(tmp_path):
        assert read_holder(tmp_path).host == socket.gethostname()


def test_a_takeover_that_a_rival_won_is_given_up(tmp_path, monkeypatch):
    write_holder(tmp_path, age=90)
    monkeypatch.setattr(
        locking.time, "sleep", lambda seconds: write_holder(tmp_path, age=0, pid=4711)
    )
    with pytest.raises(JobLockedError, match="process 4711 on elsewhere"):
        JobLock(tmp_path).__enter__()


def test_a_run_that_was_frozen_notices_that_it_lost_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "BEAT_SECONDS", 0.02)
    with JobLock(tmp_path) as lock:
        lock.check()
        write_holder(tmp_path, age=0)
        time.sleep(0.3)
        with pytest.raises(JobLockedError, match="on elsewhere"):
            lock.check()
    assert read_holder(tmp_path).host == "elsewhere", "its lock is left alone"


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "BEAT_SECONDS", 0.02)
    with JobLock(tmp_path):
        os.utime(tmp_path / "job.lock", (0, 0))
        wait_for(lambda: (tmp_path / "job.lock").stat().st_mtime > 0)


def test_a_half_written_lock_file_is_nobodys(tmp_path):
    (tmp_path / "job.lock").write_text('{"host": "x", "p')
    with JobLock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_an_error_that_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match="Cannot write to"):
        JobLock(tmp_path / "file/job").__enter__()


def test_a_run_that_was_frozen_looks_before_it_writes(tmp_path):
    with JobLock(tmp_path) as lock:
        write_holder(tmp_path, age=0)
        lock.check()
        lock._last_beat -= 1000
        with pytest.raises(JobLockedError, match="on elsewhere"):
            lock.check()


def test_a_run_waits_for_somebody_who_only_looks(tmp_path, monkeypatch):
    lock = tmp_path / "job.lock"
    lock.touch()
    with lock.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        monkeypatch.setattr(locking.time, "sleep", lambda seconds: looking.close())
        with JobLock(tmp_path):
            pass
    assert looking.closed
