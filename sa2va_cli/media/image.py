"""Any still picture as upright 8-bit RGB pixels, or a MediaError that says what is wrong."""

from dataclasses import dataclass

import numpy as np

MAX_PIXELS = 2**28  # 268 million: a 200-megapixel phone photo passes, a decompression bomb does not


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """Pixels and what a careful reader should know about how they were made."""

    pixels: np.ndarray  # (H, W, 3) uint8 RGB, EXIF orientation applied
    notes: tuple[str, ...] = ()  # "first of 12 frames", …


def load_image(path: str, max_pixels: int = MAX_PIXELS) -> LoadedImage:
    """Raises MediaError for a missing, broken, truncated, unknown or too large picture."""
    raise NotImplementedError
