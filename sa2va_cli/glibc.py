"""What glibc reads when a process starts."""

import os

# It gives large tensors back to the system when they are freed, which then clears the same pages
# anew for the next ones: a tenth to a fifth of a processor's time. Who computes rather keeps them.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1"}


def keep_memory() -> dict[str, str]:
    """Environment for a process that computes on a CPU; empty where the user has set any of it."""
    return {} if os.environ.keys() & KEEP_MEMORY.keys() else KEEP_MEMORY
