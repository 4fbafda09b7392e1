"""Regions of pictures, read from mask PNGs or from a COCO file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a picture, and what its file calls it."""

    mask: np.ndarray  # (H, W) bool, of the upright picture; another size is scaled by the model
    name: str  # "3" for label 3 of a label map, "12" for annotation id 12 of a COCO file


class RegionSource(Protocol):
    def regions(self, item_id: str) -> tuple[Region, ...]:
        """The regions of one image; empty when the source has none. MediaError if unreadable."""
        ...


def open_regions(path: Path) -> RegionSource:
    """A folder of PNGs or a COCO .json file. Raises UsageError when it is neither."""
    raise NotImplementedError
