"""Pictures as people hand them over: PIL images or arrays, and whole videos of them."""

from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from sa2va_cli.errors import UsageError

ImageLike = Image.Image | np.ndarray


def as_rgb(image: ImageLike) -> Image.Image:
    """A PIL picture or an array (H, W, 3) or (H, W) of uint8, as RGB."""
    if isinstance(image, Image.Image):
        return image if image.mode == "RGB" else image.convert("RGB")
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
        return Image.fromarray(image).convert("RGB")
    raise UsageError(
        f"A picture of type {type(image).__name__} cannot be read.",
        hint="give a PIL image or a uint8 array (height, width, 3) in RGB order",
    )


class Pictures:
    """Frames of any kind as RGB pictures, as often as the frames themselves can be iterated."""

    def __init__(self, frames: Iterable[ImageLike]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Image.Image]:
        return (as_rgb(frame) for frame in self._frames)
