"""Pixels for the two eyes of the model: tiles for InternViT, one square for SAM 2."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sa2va_cli.models.sa2va.constants import made_once
from sa2va_cli.models.sa2va.device import to_device

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# SAM 2's constants come rounded to bfloat16, whatever the model's dtype (reference-behaviour 2.2).
SAM_MEAN = (0.484375, 0.455078125, 0.40625)
SAM_STD = (0.228515625, 0.2236328125, 0.224609375)


def tile_grid(width: int, height: int, tile: int, max_tiles: int) -> tuple[int, int]:
    """(columns, rows) whose shape is nearest the picture's.

    On an exact tie the larger grid wins if the picture has more than half of that grid's pixels.
    """
    candidates = sorted(
        (
            (columns, rows)
            for columns in range(1, max_tiles + 1)
            for rows in range(1, max_tiles + 1)
            if columns * rows <= max_tiles
        ),
        key=lambda grid: grid[0] * grid[1],
    )
    best, best_gap = (1, 1), float("inf")
    for columns, rows in candidates:
        gap = abs(width / height - columns / rows)
        enough_pixels = width * height > 0.5 * tile * tile * columns * rows
        if gap < best_gap or (gap == best_gap and enough_pixels):
            best, best_gap = (columns, rows), gap
    return best


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """Bicubic, as PIL's default, with PIL 13's order of the two passes in every version of PIL.

    Where the height shrinks by more than twice what the width does, PIL 13 runs the vertical pass
    first (python-pillow/Pillow#9549); the rounding between the passes then differs by some grey
    levels, which mask logits show. The reference's results were made with that order.
    """
    shrunk_width, shrunk_height = image.width - width, image.height - height
    vertical_first = shrunk_height > 0 and shrunk_height > 2 * shrunk_width
    between = (image.width, height) if vertical_first else (width, image.height)
    return image.resize(between, Image.Resampling.BICUBIC).resize(
        (width, height), Image.Resampling.BICUBIC
    )


def image_tiles(image: Image.Image, tile: int, max_tiles: int) -> list[Image.Image]:
    """Square tiles row by row, and the whole picture as a thumbnail if there is more than one."""
    columns, rows = tile_grid(*image.size, tile, max_tiles)
    resized = resize(image, tile * columns, tile * rows)
    tiles = [
        resized.crop((x, y, x + tile, y + tile))
        for y in range(0, tile * rows, tile)
        for x in range(0, tile * columns, tile)
    ]
    return [*tiles, resize(image, tile, tile)] if len(tiles) > 1 else tiles


def frame_tile(frame: Image.Image, tile: int) -> Image.Image:
    """A video frame is one tile, squashed."""
    return resize(frame, tile, tile)


def tile_squares(tiles: list[Image.Image]) -> Tensor:
    """Tiles -> (tiles, 3, side, side) uint8: a quarter of what has to travel to a GPU."""
    return torch.from_numpy(np.stack([np.asarray(tile) for tile in tiles])).permute(0, 3, 1, 2)


def normalise_tiles(squares: Tensor) -> Tensor:
    """(tiles, 3, side, side) uint8 -> pixel_values, float32."""
    return _normalise(squares.to(torch.float32), MEAN, STD)


def sam_square(image: Image.Image, size: int) -> Tensor:
    """The picture squashed to (3, size, size) uint8."""
    pixels = np.array(resize(image, size, size))  # a copy: PIL's own buffer is read-only
    return torch.from_numpy(pixels).permute(2, 0, 1)


def normalise_sam(squares: Tensor, dtype: torch.dtype, *, video: bool) -> Tensor:
    """(T, 3, size, size) uint8 -> sam_pixel_values.

    The reference normalises video frames in float32, but a picture in the model's dtype.
    """
    working = torch.float32 if video else dtype
    return _normalise(squares.to(working), SAM_MEAN, SAM_STD).to(dtype)


def _normalise(values: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(T, 3, H, W) of 0 to 255, its own from here on."""
    mean_of, std_of = (_channels(one, values.dtype, values.device) for one in (mean, std))
    return values.div_(255).sub_(mean_of).div_(std_of)


@made_once
def _channels(constants: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(3, 1, 1), on its way to the device without a wait for what is done there."""
    return to_device(torch.tensor(constants, dtype=dtype).view(3, 1, 1), device)
