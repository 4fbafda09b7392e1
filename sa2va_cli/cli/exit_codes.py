"""What scripts can tell from the exit code."""

from sa2va_cli.errors import CheckpointError, JobLockedError, MediaError, Sa2vaError, UsageError

EXIT_DONE = 0
EXIT_FATAL = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_LOCKED = 11
# 130 and 143, interrupted: jobs.stop


def exit_code(error: Sa2vaError) -> int:
    """A MediaError comes this far only when one file was named: a job records it and goes on."""
    if isinstance(error, UsageError | CheckpointError | MediaError):
        return EXIT_USAGE
    return EXIT_LOCKED if isinstance(error, JobLockedError) else EXIT_FATAL
