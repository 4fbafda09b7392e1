"""What scripts can tell from the exit code."""

from sa2va_cli.errors import CheckpointError, JobLockedError, Sa2vaError, UsageError

EXIT_DONE = 0
EXIT_FATAL = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_LOCKED = 11
# 130 and 143, interrupted: jobs.stop


def exit_code(error: Sa2vaError) -> int:
    if isinstance(error, UsageError | CheckpointError):
        return EXIT_USAGE
    return EXIT_LOCKED if isinstance(error, JobLockedError) else EXIT_FATAL
