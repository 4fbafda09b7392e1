"""The files that items were made of, opened again, however large `--max-pixels` let them be."""

import numpy as np

from sa2va_cli.errors import MediaError
from sa2va_cli.media.frames import Video
from sa2va_cli.media.image import MAX_PIXELS, load_image
from sa2va_cli.media.video import open_video
from sa2va_cli.results import ItemResult


def load_original(item: ItemResult) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image.

    Raises MediaError when it is gone or damaged, or does not fit into memory.
    """
    try:
        return load_image(item.path, _limit(item)).pixels
    except MemoryError as error:
        raise MediaError(f"{item.item_id} does not fit into memory: {error}") from None


def open_original(item: ItemResult) -> Video:
    """A video with all of its frames. Raises MediaError when it is gone or damaged."""
    return open_video(item.path, max_pixels=_limit(item))


def _limit(item: ItemResult) -> int:
    return max(MAX_PIXELS, item.height * item.width)
