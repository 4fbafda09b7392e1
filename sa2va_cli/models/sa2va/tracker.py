"""Carries objects through a video: a bounded bank of memories, and one step a frame.

The frames prompted with language are remembered for good; of the tracked frames only as many as
the model looks back at. Memory use therefore does not depend on the length of the video.
"""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from sa2va_cli.models.sa2va.image_encoder import FrameFeatures, sine_positions
from sa2va_cli.models.sa2va.segmenter import NUM_MEMORIES, DecodedMasks, Segmenter, upscale_logits

MAX_POINTER_DISTANCE = 15  # pointers of tracked frames up to 15 frames back
MEMORY_SCALE, MEMORY_BIAS = 20.0, -10.0  # mask probabilities as the memory encoder wants them


@dataclass(frozen=True, slots=True)
class Remembered:
    """One frame in the bank."""

    memory: Tensor  # (N, hw, D)
    pointers: Tensor  # (N, C)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A decoded frame whose memory nobody has asked for yet; the last frame's never is."""

    coarse: Tensor  # (1, C, h, w) plain features
    decoded: DecodedMasks
    prompted: bool


class Tracker:
    """The state of N objects in one video."""

    def __init__(self, segmenter: Segmenter, prompt_embeddings: Tensor) -> None:
        """`prompt_embeddings`: (N, 1, C), one for each object."""
        self._segmenter = segmenter
        self._prompts = prompt_embeddings
        self._conditioning: list[Remembered] = []
        self._recent: deque[Remembered] = deque(maxlen=MAX_POINTER_DISTANCE)  # newest last
        self._pending: list[_Pending] = []

    def prompt_frame(self, features: FrameFeatures) -> DecodedMasks:
        """Decode a frame with the language prompts; it conditions all tracked frames."""
        decoded = self._segmenter.decode_prompts(features, self._prompts)
        self._pending.append(_Pending(features.coarse, decoded, prompted=True))
        return decoded

    def track_frame(self, features: FrameFeatures) -> DecodedMasks:
        """Decode the next frame from memory alone."""
        self._remember_pending()
        memory, positions, num_pointers = self._gather()
        coarse = self._segmenter.memory_attention(features.coarse, memory, positions, num_pointers)
        decoded = self._segmenter.decode_tracked(coarse, features)
        self._pending.append(_Pending(features.coarse, decoded, prompted=False))
        return decoded

    def _remember_pending(self) -> None:
        for frame in self._pending:
            remembered = Remembered(self._encode(frame), frame.decoded.pointers)
            (self._conditioning if frame.prompted else self._recent).append(remembered)
        self._pending.clear()

    def _encode(self, frame: _Pending) -> Tensor:
        """(N, hw, D), rounded to bfloat16 as the reference stores it, whatever the dtype."""
        logits = upscale_logits(frame.decoded.mask_logits, self._segmenter.config.image_size)
        masks = (logits.sigmoid() * MEMORY_SCALE + MEMORY_BIAS)[:, None].to(frame.coarse.dtype)
        features = frame.coarse.expand(len(masks), -1, -1, -1)
        memory, _ = self._segmenter.memory_encoder(features, masks)
        return memory.flatten(2).transpose(1, 2).to(torch.bfloat16)

    def _gather(self) -> tuple[Tensor, Tensor, int]:
        """Memory (N, K, D), its key positions (K, D), and how many last cells are pointers."""
        newest_first = list(self._recent)[::-1]
        spatial = [(frame.memory, NUM_MEMORIES - 1) for frame in self._conditioning]
        spatial += [
            (frame.memory, distance - 1)
            for distance, frame in enumerate(newest_first[: NUM_MEMORIES - 1], start=1)
        ]
        pointers = torch.stack(
            [frame.pointers for frame in (*self._conditioning, *newest_first)], dim=1
        )  # (N, P, C)
        times = self._segmenter.memory_time_embedding.flatten(1)  # (7, D)
        dtype, size = times.dtype, self._segmenter.config.memory_size
        pointer_cells = pointers.to(dtype).unflatten(2, (-1, size)).flatten(1, 2)  # (N, P*C/D, D)
        memory = torch.cat([*(cells.to(dtype) for cells, _ in spatial), pointer_cells], dim=1)

        side = self._segmenter.config.feature_side
        where = sine_positions(side, size, memory.device).to(dtype)
        positions = torch.cat(
            [
                *(where + times[time] for _, time in spatial),
                where.new_zeros(pointer_cells.shape[1], size),
            ]
        )
        return memory, positions, pointer_cells.shape[1]
