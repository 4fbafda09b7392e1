"""Numbers as JSON takes them: short, and never NaN or infinite."""

import json
import math
from typing import Any


def score_json(value: float) -> float:
    """A score to six digits; one that is no number counts as 0."""
    return round(float(value), 6) if math.isfinite(value) else 0.0


def fps_json(value: float | None) -> float | None:
    return round(value, 6) if value is not None and math.isfinite(value) else None


def dump_json(value: Any) -> str:
    """Compact JSON in ASCII: readable under any locale, and file names that are no valid
    unicode survive as escapes."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
