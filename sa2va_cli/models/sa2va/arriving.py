"""What a GPU computed, on its way to host memory, while the GPU goes on.

Eight pixels of a mask travel as one byte. What a processor computed is there already.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

HOST = torch.device("cpu")


class Arrival:
    """The moment at which all is done that a device has been told to do until now."""

    def __init__(self, device: torch.device) -> None:
        self._event = None
        if device.type == "cuda":
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Return when it has come; on a processor it has."""
        if self._event is not None:
            self._event.synchronize()


def send(values: Tensor) -> Tensor:
    """Into host memory, where they are to be read after an `Arrival`."""
    return values.to(HOST, non_blocking=True)  # torch takes pinned memory for that


class SentMasks:
    """Bool of any shape, on the way as bits."""

    def __init__(self, masks: Tensor) -> None:
        self._shape = tuple(masks.shape)
        self._packed = masks.is_cuda
        self._values = send(pack(masks)) if self._packed else masks

    def numpy(self) -> np.ndarray:
        """The same in host memory; to be called after an `Arrival`."""
        values = self._values.numpy()
        if not self._packed:
            return values
        bits = np.unpackbits(values, count=int(np.prod(self._shape)))
        return bits.view(bool).reshape(self._shape)


def pack(masks: Tensor) -> Tensor:
    """Bool of any shape -> (bytes,) uint8, the first pixel highest."""
    pixels = masks.flatten().to(torch.uint8)
    eights = F.pad(pixels, (0, -len(pixels) % 8)).view(-1, 8)
    places = torch.arange(7, -1, -1, dtype=torch.uint8, device=masks.device)
    return (eights << places).sum(dim=1, dtype=torch.uint8)
