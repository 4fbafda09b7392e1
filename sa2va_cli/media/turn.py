"""How the frames that a video stores become the upright ones that players show."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Turn:
    """Transposed first, then mirrored. `Turn()` leaves frames as they are stored."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False
    note: str = ""  # when there is no such way

    @classmethod
    def of(cls, frame: Any) -> "Turn":
        """From the display matrix (x' = a x + c y, y' = b x + d y) that cameras write."""
        data = next((bytes(d) for d in frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
        if data is None:
            return cls()
        a, b, _, c, d, *_ = struct.unpack("=9i", data[:36])
        if b == c == 0:
            return cls(False, a < 0, d < 0)
        if a == d == 0:
            return cls(True, c < 0, b < 0)
        return cls(note="players turn it by an odd angle; frames are taken as they are stored")

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, 3) as stored -> upright."""
        pixels = pixels.swapaxes(0, 1) if self.transpose else pixels
        return pixels[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
