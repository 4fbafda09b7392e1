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
        a, b, c, d = _display_matrix(frame)
        if b == c == 0:
            return cls(False, a < 0, d < 0)
        if a == d == 0:
            return cls(True, c < 0, b < 0)
        return cls(note="players turn it by an odd angle; frames are taken as they are stored")

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, 3) as stored -> upright."""
        pixels = pixels.swapaxes(0, 1) if self.transpose else pixels
        return pixels[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


_UPRIGHT, _UPSIDE_DOWN, _ODD = (1, 0, 0, 1), (-1, 0, 0, -1), (1, 1, 1, 1)
_ROTATIONS = {  # degrees counterclockwise
    0: _UPRIGHT,
    90: (0, -1, 1, 0),
    -90: (0, 1, -1, 0),
    180: _UPSIDE_DOWN,
    -180: _UPSIDE_DOWN,
}


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """Its a, b, c and d, in any scale."""
    try:
        data = next((bytes(d) for d in frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
    except ValueError:  # of a kind that PyAV does not know: Exif in Motion JPEG, spatial video
        return _ROTATIONS.get(frame.rotation, _ODD)  # without a mirror
    if data is None:
        return _UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", data[:36])
    return a, b, c, d
