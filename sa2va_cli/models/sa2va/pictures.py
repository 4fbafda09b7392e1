"""Pictures as people hand them over: PIL images or arrays, and whole videos of them."""

import numpy as np
from PIL import Image

from sa2va_cli.errors import UsageError

ImageLike = Image.Image | np.ndarray


def as_rgb(image: ImageLike) -> Image.Image:
    """A PIL picture or an array (H, W, 3) or (H, W) of uint8, as RGB."""
    if isinstance(image, Image.Image):
        return image if image.mode == "RGB" else image.convert("RGB")
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
        return as_rgb(Image.fromarray(image))
    raise UsageError(
        f"A picture of type {type(image).__name__} cannot be read.",
        hint="give a PIL image or a uint8 array (height, width, 3) in RGB order",
    )
