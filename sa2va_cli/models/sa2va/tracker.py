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
NUM_RECENT = NUM_MEMORIES - 1  # memories of tracked frames
MEMORY_SCALE, MEMORY_BIAS = 20.0, -10.0  # mask probabilities as the memory encoder wants them


@dataclass(frozen=True, slots=True)
class Remembered:
    """One frame in the bank."""

    frame_idx: int
    memory: Tensor  # (N, hw, D)
    pointers: Tensor  # (N, C)


@dataclass(frozen=True, slots=True)
class Pointed:
    """One tracked frame of which no more than the pointers is kept."""

    frame_idx: int
    pointers: Tensor  # (N, C)


@dataclass(frozen=True, slots=True)
class Bank:
    """All that a tracker goes on from."""

    conditioning: tuple[Remembered, ...]
    recent: tuple[Remembered, ...]  # tracked frames, newest last
    older: tuple[Pointed, ...]  # tracked frames before those, newest last


@dataclass(frozen=True, slots=True)
class _Pending:
    """A decoded frame whose memory nobody has asked for yet; the last frame's never is."""

    frame_idx: int
    coarse: Tensor  # (1, C, h, w) plain features
    decoded: DecodedMasks


class Tracker:
    """The state of N objects in one video.

    Conditioning frames, wherever they lie, are given first; the others are tracked in order.
    """

    def __init__(self, segmenter: Segmenter, *, original: bool = False) -> None:
        """`original`: track with SAM 2's own decoder and rules (Sa2VA-i)."""
        self._segmenter = segmenter
        self._original = original
        self._conditioning: list[Remembered] = []
        self._recent: deque[Remembered] = deque()  # newest last
        self._older: deque[Pointed] = deque(maxlen=MAX_POINTER_DISTANCE - NUM_RECENT)
        self._pending: list[_Pending] = []  # conditioning frames, until a frame is tracked
        self._newest: _Pending | None = None  # the tracked frame before
        # The last key positions, behind the ages and the number of pointers that they hold for.
        self._positions: tuple[tuple[int, ...], Tensor] | None = None

    def condition(self, frame_idx: int, features: FrameFeatures, decoded: DecodedMasks) -> None:
        """A frame with known masks; all tracked frames remember it."""
        self._pending.append(_Pending(frame_idx, features.coarse, decoded))

    def track_frame(self, frame_idx: int, features: FrameFeatures) -> DecodedMasks:
        """Decode the next frame from memory alone."""
        self._remember()
        memory, positions, num_pointers = self._gather(frame_idx)
        coarse = self._segmenter.memory_attention(features.coarse, memory, positions, num_pointers)
        decoded = self._segmenter.decode_tracked(coarse, features, original=self._original)
        self._newest = _Pending(frame_idx, features.coarse, decoded)
        return decoded

    def bank(self) -> Bank:
        """What is remembered now, the frame that was tracked last included."""
        self._remember()
        return Bank(tuple(self._conditioning), tuple(self._recent), tuple(self._older))

    def restore(self, bank: Bank) -> None:
        """Go on from there, on a new tracker."""
        self._conditioning = list(bank.conditioning)
        self._recent = deque(bank.recent)
        self._older.extend(bank.older)

    def keep(self, objects: list[int]) -> None:
        """Forget all but some of the N objects."""
        bank = self.bank()
        self._conditioning = [_some(frame, objects) for frame in bank.conditioning]
        self._recent = deque(_some(frame, objects) for frame in bank.recent)
        self._older.clear()
        self._older.extend(Pointed(p.frame_idx, p.pointers[objects]) for p in bank.older)

    def _remember(self) -> None:
        self._conditioning += [self._encode(frame) for frame in self._pending]
        self._pending.clear()
        if self._newest is not None:
            self._recent.append(self._encode(self._newest))
            self._newest = None
        if len(self._recent) > NUM_RECENT:
            oldest = self._recent.popleft()
            self._older.append(Pointed(oldest.frame_idx, oldest.pointers))

    def _encode(self, frame: _Pending) -> Remembered:
        """Its memory is rounded to bfloat16, as the reference stores it, whatever the dtype."""
        logits = upscale_logits(frame.decoded.mask_logits, self._segmenter.config.image_size)
        masks = (logits.sigmoid() * MEMORY_SCALE + MEMORY_BIAS)[:, None].to(frame.coarse.dtype)
        features = frame.coarse.expand(len(masks), -1, -1, -1)
        memory, _ = self._segmenter.memory_encoder(features, masks)
        cells = memory.flatten(2).transpose(1, 2).to(torch.bfloat16)  # (N, hw, D)
        return Remembered(frame.frame_idx, cells, frame.decoded.pointers)

    def _gather(self, frame_idx: int) -> tuple[Tensor, Tensor, int]:
        """Memory (N, K, D), its key positions (K, D), and how many last cells are pointers."""
        recent = [(frame_idx - frame.frame_idx, frame) for frame in reversed(self._recent)]
        spatial = [(frame.memory, NUM_MEMORIES - 1) for frame in self._conditioning]
        spatial += [(f.memory, distance - 1) for distance, f in recent if distance < NUM_MEMORIES]
        # Conditioning frames yet to come lend their memory, but not their pointers.
        pointing: list[Remembered | Pointed] = [
            frame for frame in self._conditioning if frame.frame_idx <= frame_idx
        ]
        tracked: list[Remembered | Pointed] = [*self._older, *self._recent]
        pointing += [
            frame
            for frame in reversed(tracked)
            if frame_idx - frame.frame_idx <= MAX_POINTER_DISTANCE
        ]
        pointers = torch.stack([frame.pointers for frame in pointing], dim=1)  # (N, P, C)
        dtype = self._segmenter.memory_time_embedding.dtype
        size = self._segmenter.config.memory_size
        pointer_cells = pointers.to(dtype).unflatten(2, (-1, size)).flatten(1, 2)  # (N, P*C/D, D)
        memory = torch.cat([*(cells.to(dtype) for cells, _ in spatial), pointer_cells], dim=1)

        ages, num_pointers = [age for _, age in spatial], pointer_cells.shape[1]
        return memory, self._key_positions(ages, num_pointers), num_pointers

    def _key_positions(self, ages: list[int], num_pointers: int) -> Tensor:
        """(K, D) of memories of these ages, then of pointers. From some frame on they are the same
        for all frames."""
        wanted = (*ages, num_pointers)
        if self._positions is None or self._positions[0] != wanted:
            times = self._segmenter.memory_time_embedding.flatten(1)  # (7, D)
            side, size = self._segmenter.config.feature_side, times.shape[1]
            where = sine_positions(side, size, times.device).to(times.dtype)
            spatial = [where + times[age] for age in ages]
            self._positions = wanted, torch.cat([*spatial, where.new_zeros(num_pointers, size)])
        return self._positions[1]


def _some(frame: Remembered, objects: list[int]) -> Remembered:
    return Remembered(frame.frame_idx, frame.memory[objects], frame.pointers[objects])
