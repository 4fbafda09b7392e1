"""What a network gives must be numbers: what is not is told, before anybody stores it."""

import math
from collections.abc import Iterable

from sa2va_cli.errors import CheckpointError


def check_numbers(values: Iterable[float], what: str) -> None:
    """Raises CheckpointError at NaN: one item's error, for a job whose weights are sound."""
    if any(math.isnan(value) for value in values):
        raise CheckpointError(
            f"The model computes {what} that are not numbers (NaN).",
            hint="its weights are damaged, or its values too large for float16: "
            "try --dtype float32, or bfloat16 on a GPU",
        )
