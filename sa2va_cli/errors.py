"""Errors that a user can cause. The command line prints them; any other exception is a bug."""

from collections.abc import Iterable


class Sa2vaError(Exception):
    """What happened, and what to do about it.

    Every subclass takes the same arguments, so that errors survive pickling between processes.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\nHint: {hint}" if hint else message)


class UsageError(Sa2vaError):
    """An option, a path or a config value that cannot be used (exit code 2)."""


class MediaError(Sa2vaError):
    """A file that cannot be found or decoded. A job records it and goes on (elsewhere: 2)."""


class CheckpointError(Sa2vaError):
    """Weights, config or tokenizer files that do not make a model (exit code 2)."""


class JobError(Sa2vaError):
    """A job folder that cannot be written or read: full disk, no permission (exit code 1)."""


class JobLockedError(Sa2vaError):
    """Another run holds the job folder (exit code 11)."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    return UsageError(f"Unknown {kind} {name!r}.", hint=f"choose one of {', '.join(sorted(known))}")
