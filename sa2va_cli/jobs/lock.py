"""One run at a time in a job folder, also when machines share it over a network disk.

Two signs are used. The lock of the operating system falls with its process, at once, on one
machine, and on disks that pass locks on. Where they do not, a heartbeat tells: a run rewrites
the lock file every few seconds, and a file that is not rewritten belongs to nobody.
"""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from sa2va_cli.errors import JobError, JobLockedError

LOCK_NAME = "job.lock"
BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0  # six beats
SETTLE_SECONDS = 2.0  # after a takeover: time for a rival to show itself


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds, or held, the folder."""

    host: str
    pid: int
    boot_id: str  # of the host's running kernel: a pid means nothing after a restart
    token: str  # of this one run

    @classmethod
    def me(cls) -> "Holder":
        return cls(socket.gethostname(), os.getpid(), _boot_id(), uuid.uuid4().hex)


class JobLock:
    """Held from `__enter__` to `__exit__`, or to the death of the process.

    Raises JobLockedError when another run has it, JobError when the folder cannot be written.
    """

    def __init__(self, job_dir: Path, stale_seconds: float = STALE_SECONDS) -> None:
        self._path = job_dir / LOCK_NAME
        self._stale_seconds = stale_seconds
        self._me = Holder.me()
        self._file: IO[str] | None = None
        self._end = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._lost = False
        self._last_beat = time.monotonic()

    def __enter__(self) -> "JobLock":
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+")
            self._acquire(self._file)
        except OSError as error:
            raise JobError(
                f"Cannot write to {self._path.parent}: {error.strerror}.",
                hint="is it a folder that you may write to, on a disk that is not full?",
            ) from error
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.set()
        self._heart.join()
        assert self._file is not None
        if not self._lost:
            self._file.truncate(0)  # says that nobody holds it
        self._file.close()

    def check(self) -> None:
        """Raises JobLockedError when another machine has taken the folder over meanwhile.

        That happens to a run that was frozen for longer than the heartbeat may stop.
        """
        if time.monotonic() - self._last_beat > 2 * BEAT_SECONDS:  # we were frozen, just now
            self._lost = not self._still_mine()
        if self._lost:
            raise _locked(self._path, _read(self._path))

    def _acquire(self, file: IO[str]) -> None:
        if not (_lock(file) or self._lock_after_onlookers(file)):
            raise _locked(self._path, _read(self._path))
        holder = _read(self._path)
        if holder and self._may_live(holder):
            file.close()
            raise _locked(self._path, holder)
        self._write()
        if holder and holder.host != self._me.host:
            time.sleep(SETTLE_SECONDS)
            if not self._still_mine():
                file.close()
                raise _locked(self._path, _read(self._path))

    def _lock_after_onlookers(self, file: IO[str]) -> bool:
        """Who asks for the status holds the lock too, for a moment, and leaves no name."""
        for _ in range(10):
            if _read(self._path) is not None:
                return False
            time.sleep(0.05)
            if _lock(file):
                return True
        return False

    def _may_live(self, holder: Holder) -> bool:
        """We got the system's lock, yet the file names somebody."""
        if holder.host == self._me.host or holder.boot_id == self._me.boot_id:
            return False  # one kernel: its lock does not lie
        return self._seconds_silent() < self._stale_seconds

    def _seconds_silent(self) -> float:
        """Since the file was written; both times are the disk's own, clocks of hosts differ."""
        probe = self._path.with_name(f".{LOCK_NAME}.{self._me.token}")
        try:
            probe.touch()
            return probe.stat().st_mtime - self._path.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _still_mine(self) -> bool:
        holder = _read(self._path)
        return holder is not None and holder.token == self._me.token

    def _write(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        self._file.truncate(0)
        self._file.write(json.dumps(asdict(self._me)))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _beat(self) -> None:
        while not self._end.wait(BEAT_SECONDS):
            if not self._still_mine():
                self._lost = True
                return
            self._last_beat = time.monotonic()
            with suppress(OSError):  # a disk in trouble is for the run to notice
                os.utime(self._path)


def read_holder(job_dir: Path) -> Holder | None:
    """Who holds the folder, as far as its lock file tells; None when nobody does."""
    path = job_dir / LOCK_NAME
    holder = _read(path)
    if holder is None:
        return None
    with path.open() as file:
        if _lock(file, shared=True):
            silent = time.time() - path.stat().st_mtime
            here = holder.host == socket.gethostname()
            return None if here or silent > STALE_SECONDS else holder
    return holder


def _lock(file: IO[str], shared: bool = False) -> bool:
    """True if we have it; also where the disk knows no locks: then the heartbeat alone counts."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # empty, or half written by a run that was killed just then


def _locked(path: Path, holder: Holder | None) -> JobLockedError:
    who = f"process {holder.pid} on {holder.host}" if holder else "another run"
    return JobLockedError(
        f"{path.parent} is in use by {who}.",
        hint="wait for it, or look with `sa2va status`; if that machine crashed, "
        f"the folder is free {STALE_SECONDS:g} s after its last sign of life",
    )


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else ""
