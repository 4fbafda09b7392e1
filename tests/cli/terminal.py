"""A process on a terminal of its own, typed into and read like one."""

import os
import pty
import re
import select
import subprocess
import time
from contextlib import suppress

CTRL_C, CTRL_D, UP, KILL_LINE = "\x03", "\x04", "\x1b[A", "\x15"
PICTURE = r"[A-Za-z0-9+/=]{200,}"  # base64


class Terminal:
    """Use it as a context manager; leaving it ends the process."""

    def __init__(self, command, **options):
        self._fd, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, **options
        )
        os.close(theirs)
        self.output = ""
        self._seen = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def type(self, keys):
        os.write(self._fd, keys.encode())

    def interrupt(self, text):
        """Ctrl-C until `text` comes.

        One between Python's prompt and its wait for keys is noticed at the next key only.
        """
        for _ in range(10):
            self.type(CTRL_C)
            with suppress(AssertionError):
                return self.expect(text, seconds=10)
        return self.expect(text)

    def expect(self, text, seconds=120):
        """Read on until `text` comes; returns all from the last expected text up to its end."""
        deadline = time.monotonic() + seconds
        while text not in self.output[self._seen :]:
            left = deadline - time.monotonic()
            ready = select.select([self._fd], [], [], max(left, 0))[0]
            data = self._read() if ready else b""
            assert data, f"no {text!r} in:\n{re.sub(PICTURE, '…', self.output)}"
            self.output += data.decode("utf-8", "replace")
        end = self.output.index(text, self._seen) + len(text)
        part, self._seen = self.output[self._seen : end], end
        return part

    def wait(self, seconds=60):
        """The exit code, when the process is over."""
        return self.process.wait(seconds)

    def _read(self):
        try:
            return os.read(self._fd, 65536)
        except OSError:  # the other end is closed
            return b""
