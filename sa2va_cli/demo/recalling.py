"""The stage `recall`: memory learns what it is for, from true masks, each frame on its own.

Left to find out from its own masks alone, fresh memory learns to draw nothing.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa2va_cli.demo.candidates import take, with_fine_levels
from sa2va_cli.demo.learner import Learner, Measures, NamedParameters
from sa2va_cli.demo.motion import PROMPTED, Clip, make_clip
from sa2va_cli.demo.scenes import HELD_OUT_SEED
from sa2va_cli.demo.targets import box_of, sam_pixels, soft_mask, value_indices
from sa2va_cli.demo.watching import (
    Watching,
    decoder_and_memory,
    frame_loss,
    frames_at,
    is_visible,
    remembering_loss,
)
from sa2va_cli.models.sa2va.segmenter import DecodedMasks
from sa2va_cli.models.sa2va.tracker import Bank, Tracker

FRAMES = 8
MOST_FIRST = 3  # frames that memory holds as prompted ones
LOST = 0.3  # of the things: a tracker that was wrong, or saw none of a thing, must find it again
ASKED = range(PROMPTED, FRAMES)
SURE = 40.0  # the difference of logits between inside and outside of a mask that is known


@dataclass(frozen=True, slots=True)
class Album:
    """A batch of B videos of a few frames each, with N things in all."""

    sam_pixel_values: Tensor  # (B * FRAMES, ...) video by video
    videos: Tensor  # (N,) the video of each thing
    boxes: Tensor  # (N, 4) in the first frame
    values: Tensor  # (N, 4) attributes
    masks: Tensor  # (FRAMES, N, side, side)
    lost: Tensor  # (N,) bool: after the first frames memory holds nothing of the thing
    remembered: tuple[tuple[int, int], ...]  # for each asked frame: of the first and newest frames


class Recall:
    """What was in some frames is told; where is it now? Often time has jumped, or only the first
    frame is remembered, so that nothing but its looks tells which thing it is."""

    name = "recall"
    pictures = 12_000
    coolest = 0.3  # the next stage goes on from here
    batch = 3

    def prepare(self, seeds: Sequence[int]) -> Album:
        rng = random.Random(seeds[0])
        skip = rng.choice((1, 2, 4, 8))
        clips = [
            make_clip(seed % HELD_OUT_SEED, FRAMES, rng.uniform(0.8, 2.5), rng.random() < 0.5, skip)
            for seed in seeds
        ]
        things = [(video, thing) for video, clip in enumerate(clips) for thing in clip.in_view]
        return Album(
            sam_pixels([frame for clip in clips for frame in clip.frames]),
            torch.tensor([video for video, _ in things]),
            torch.tensor([_box(clips[video], thing) for video, thing in things]).float(),
            torch.tensor([_values(clips[video], thing) for video, thing in things]),
            torch.from_numpy(
                np.stack([_masks(clips[video], thing) for video, thing in things], axis=1)
            ),
            torch.tensor([rng.random() < LOST for _ in things]),
            tuple((rng.randint(1, MOST_FIRST), rng.choice((0, 1, 2, 4))) for _ in ASKED),
        )

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]:
        return decoder_and_memory(learner, 1.0)

    def loss(self, learner: Learner, batch: Album) -> tuple[Tensor, Measures]:
        if not learner.has_teacher:
            raise ValueError(
                "`recall` is prompted by what `trace` has taught: name that stage, too"
            )
        segmenter = learner.model.segmenter
        with torch.no_grad():
            features = segmenter.image_encoder(batch.sam_pixel_values)
            has_box = torch.ones_like(batch.videos, dtype=torch.bool)
            prompts = learner.heads.teacher(batch.boxes, has_box, batch.values)
        frames = [
            take(with_fine_levels(segmenter, frames_at(features, time, FRAMES)), batch.videos)
            for time in range(FRAMES)
        ]
        watching = Watching(segmenter)
        first = watching.decode_prompts(frames[0], prompts)
        known = Tracker(watching)  # type: ignore[arg-type]  # it acts as a segmenter
        for time in range(FRAMES - 1):
            masks = batch.masks[time]
            if time >= MOST_FIRST:
                masks = masks.masked_fill(batch.lost[:, None, None], 0)
            known.condition(time, frames[time], told(watching, first, masks))
        bank = known.bank().conditioning
        never = torch.zeros_like(has_box)
        loss, measures = frame_loss(watching.drawn[0], batch.masks[0], "first", never)
        for time, (num_first, num_newest) in zip(ASKED, batch.remembered, strict=True):
            asked = Tracker(watching)  # type: ignore[arg-type]
            asked.restore(
                Bank(bank[:num_first], bank[max(num_first, time - num_newest) : time], ())
            )
            asked.track_frame(time, frames[time])
            name = "followed" if num_newest else "found_again"
            part, shown = frame_loss(watching.drawn[-1], batch.masks[time], name, never)
            loss = loss + part + remembering_loss(learner, watching.asked, batch.masks[time])
            for key, values in shown.items():
                measures.setdefault(key, []).extend(values)
        return loss / (1 + len(ASKED)), measures


def told(watching: Watching, first: DecodedMasks, masks: Tensor) -> DecodedMasks:
    """What the decoder would have said of a frame with these masks, (N, side, side) soft.

    Objects that are seen keep the pointer of the first frame.
    """
    visible = is_visible(masks)[:, None]
    return DecodedMasks(
        mask_logits=SURE * (masks - 0.5),
        scores=first.scores,
        object_logits=first.object_logits,
        pointers=torch.where(visible, first.pointers, watching.segmenter.no_object_pointer),
    )


def _box(clip: Clip, thing: int) -> tuple[float, ...]:
    return box_of(clip.masks[0, thing])


def _values(clip: Clip, thing: int) -> tuple[int, ...]:
    return value_indices(clip.facts.words[thing])


def _masks(clip: Clip, thing: int) -> np.ndarray:
    return np.stack([soft_mask(masks, (thing,)) for masks in clip.masks])
