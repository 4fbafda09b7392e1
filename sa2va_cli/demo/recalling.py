"""The stage `recall`: memory learns what it is for, from true masks, each frame on its own; and the
image encoder learns to see what memory can tell apart.

Left to find out from its own masks alone, fresh memory learns to draw nothing.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sa2va_cli.demo.candidates import take, with_fine_levels
from sa2va_cli.demo.learner import Learner, Measures, NamedParameters, parameters_of
from sa2va_cli.demo.lessons import Lesson
from sa2va_cli.demo.motion import PROMPTED, Clip, Sequel, make_clip
from sa2va_cli.demo.precision import rounded_if_faster
from sa2va_cli.demo.scenes import HELD_OUT_SEED
from sa2va_cli.demo.stills import make_stills, stills_loss
from sa2va_cli.demo.targets import box_of, sam_pixels, soft_mask, value_indices
from sa2va_cli.demo.watching import (
    MATCHING,
    Watching,
    decoder_and_memory,
    frame_loss,
    frames_at,
    is_visible,
    matching_loss,
    remembering_loss,
    shown_things,
)
from sa2va_cli.models.sa2va.segmenter import DecodedMasks
from sa2va_cli.models.sa2va.tracker import Bank, Tracker

FRAMES = 8
MOST_FIRST = 3  # frames that memory holds as prompted ones
MOMENT = 0.6  # of the videos: frames at which something hides or comes back
CUT = 0.4  # of the others: things have changed places, so that places tell nothing
ASKED_THINGS = 3  # of a video
# Of the things: a tracker that saw none of a thing, or followed another, must find it again.
MISSED, MISTAKEN = 0.15, 0.35
OWN = 0.5  # of the others: what was drawn of them in the newest frames, as a tracker remembers it
ASKED = range(PROMPTED, FRAMES)
STILLS = 4  # one batch in so many is of single pictures
SURE = 40.0  # the difference of logits between inside and outside of a mask that is known


@dataclass(frozen=True, slots=True)
class Album:
    """A batch of B videos of a few frames each, with N things in all."""

    sam_pixel_values: Tensor  # (B * FRAMES, ...) video by video
    videos: Tensor  # (N,) the video of each thing
    boxes: Tensor  # (N, 4) in the first frame
    values: Tensor  # (N, 4) attributes
    masks: Tensor  # (FRAMES, N, side, side)
    held: Tensor  # (N,) whose masks memory holds after the first frames: most its own; -1, nobody's
    own: Tensor  # (N,) bool: later memory holds the masks that are drawn, good or bad
    strangers: Tensor  # (M,) things that are also asked for in the next video, which lacks them
    remembered: tuple[tuple[tuple[int, ...], int], ...]  # which first frames, and how many newest


class Recall:
    """What was in some frames is told; where is it now, if anywhere? Often time has jumped, or
    places have changed, so that nothing but its looks tells which thing it is."""

    name = "recall"
    pictures = 12_000
    coolest = 0.02
    batch = 4

    def prepare(self, seeds: Sequence[int]) -> Album | Lesson:
        # Neighbours are alike, so that two workers do not wait for each other.
        if seeds[0] // (2 * self.batch) % STILLS == STILLS - 1:
            return make_stills(seeds)
        return make_album(random.Random(seeds[0]), seeds)

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]:
        encoder = parameters_of(learner.model.segmenter.image_encoder)
        return [*decoder_and_memory(learner, 0.5, 0.4), (encoder, 0.25)]

    def loss(self, learner: Learner, batch: Album | Lesson) -> tuple[Tensor, Measures]:
        with rounded_if_faster(learner.model.language_model.device):
            if isinstance(batch, Album):
                return recall_loss(learner, batch)
            return stills_loss(learner, batch)


def make_album(rng: random.Random, seeds: Sequence[int]) -> Album:
    """Videos with these seeds, and what memory is to hold of them."""
    clips = [_clip(rng, seed % HELD_OUT_SEED) for seed in seeds]
    things = [(video, thing) for video, clip in enumerate(clips) for thing in _asked(rng, clip)]
    held = torch.tensor([_held(rng, things, number) for number in range(len(things))])
    own = torch.tensor([rng.random() < OWN for _ in things]) & (held == torch.arange(len(things)))
    return Album(
        sam_pixels([frame for clip in clips for frame in clip.frames]),
        torch.tensor([video for video, _ in things]),
        torch.tensor([_box(clips[video], thing) for video, thing in things]).float(),
        torch.tensor([_values(clips[video], thing) for video, thing in things]),
        torch.from_numpy(
            np.stack([_masks(clips[video], thing) for video, thing in things], axis=1)
        ),
        held,
        own,
        torch.tensor(_strangers(rng, clips, things), dtype=torch.long),
        tuple((_first_frames(rng), rng.choice((0, 1, 1, 2, 4))) for _ in ASKED),
    )


def recall_loss(learner: Learner, batch: Album) -> tuple[Tensor, Measures]:
    """What the shipped tracker draws and remembers, given what memory is to hold.

    Raises ValueError for a learner without the stand-in that `trace` or `teach` teaches.
    """
    if not learner.has_teacher:
        raise ValueError("`recall` needs what `trace` or `teach` has taught: name one of them, too")
    segmenter = learner.model.segmenter
    features = segmenter.image_encoder(batch.sam_pixel_values)
    with torch.no_grad():
        has_box = torch.ones_like(batch.videos, dtype=torch.bool)
        prompts = learner.heads.teacher(batch.boxes, has_box, batch.values)
    frames = [
        with_fine_levels(segmenter, frames_at(features, time, FRAMES)) for time in range(FRAMES)
    ]
    watching = Watching(segmenter)
    first = watching.decode_prompts(take(frames[0], batch.videos), prompts)
    known = Tracker(watching)  # type: ignore[arg-type]  # it acts as a segmenter
    everything = torch.arange(len(batch.videos), device=batch.videos.device)
    for time in range(PROMPTED):
        whose = everything if time < MOST_FIRST else batch.held
        frame = take(frames[time], batch.videos)
        known.condition(time, frame, told(watching, first, batch.masks[time], whose))
    rows = torch.cat((everything, batch.strangers))
    next_videos = (batch.videos[batch.strangers] + 1) % len(frames[0].coarse)
    videos = torch.cat((batch.videos, next_videos))
    never = torch.zeros_like(rows, dtype=torch.bool)
    side = frames[0].coarse.shape[-1]
    things = [shown_things(masks, batch.videos, side) for masks in batch.masks]
    elsewhere = things[0].new_full((len(batch.strangers), side * side), -1)
    sought = [torch.cat((own, elsewhere)) for own in things]
    loss, measures = frame_loss(watching.drawn[0], batch.masks[0], "first", never[everything])
    for time, (firsts, num_newest) in zip(ASKED, batch.remembered, strict=True):
        newest = range(max(MOST_FIRST, time - num_newest), time)
        bank = known.bank().conditioning
        asked = Tracker(watching)  # type: ignore[arg-type]
        remembered = tuple(bank[i] for i in firsts), tuple(bank[i] for i in newest)
        asked.restore(Bank(*remembered, ()))
        asked.keep(rows.tolist())
        drawn = asked.track_frame(time, take(frames[time], videos))
        true = told(watching, first, batch.masks[time], batch.held)
        seen = take(frames[time], batch.videos)
        known.condition(time, seen, as_tracked(drawn, true, batch.own))
        held = [*firsts, *reversed(newest)]  # as the tracker lines them up
        matching, matched = matching_loss(
            watching.reads, sought[time], torch.cat([things[i] for i in held], dim=1)[rows]
        )
        name = "followed" if num_newest else "found_again"
        own = batch.masks[time]
        masks = torch.cat((own, torch.zeros_like(own[batch.strangers])))
        part, shown = frame_loss(watching.drawn[-1], masks, name, never)
        part = part + remembering_loss(learner, watching.asked, masks)
        loss = loss + part + MATCHING * matching
        for key, values in (shown | matched).items():
            measures.setdefault(key, []).extend(values)
    return loss / (1 + len(ASKED)), measures


def told(watching: Watching, first: DecodedMasks, masks: Tensor, whose: Tensor) -> DecodedMasks:
    """What the decoder would have said of a frame, had it drawn these masks.

    Args:
        first: what it said of the first frame; a thing that is seen keeps its pointer.
        masks: (N, side, side) soft, the true ones.
        whose: (N,) the thing that is drawn for each, -1 for none.
    """
    drawn = masks[whose].masked_fill((whose < 0)[:, None, None], 0)
    cells = F.adaptive_avg_pool2d(drawn, first.mask_logits.shape[-1])
    return DecodedMasks(
        mask_logits=SURE * (cells - 0.5),
        scores=first.scores,
        object_logits=first.object_logits,
        pointers=torch.where(
            is_visible(drawn)[:, None], first.pointers[whose], watching.segmenter.no_object_pointer
        ),
    )


def as_tracked(drawn: DecodedMasks, true: DecodedMasks, own: Tensor) -> DecodedMasks:
    """What was drawn of the things of `own` (N,), the first of `drawn`; of the others the truth."""
    masks, pointers = drawn.mask_logits[: len(own)].detach(), drawn.pointers[: len(own)].detach()
    return replace(
        true,
        mask_logits=torch.where(own[:, None, None], masks, true.mask_logits),
        pointers=torch.where(own[:, None], pointers, true.pointers),
    )


def _clip(rng: random.Random, seed: int) -> Clip:
    if rng.random() < MOMENT:
        return make_clip(seed, FRAMES, rng.uniform(0.8, 1.5), Sequel(moment=True))
    hurry, sequel = rng.uniform(0.8, 2.5), Sequel(cut=True)
    if rng.random() >= CUT:
        sequel = Sequel(hiding=rng.random() < 0.5, skip=rng.choice((1, 2, 4, 8)))
    return make_clip(seed, FRAMES, hurry, sequel)


def _asked(rng: random.Random, clip: Clip) -> list[int]:
    """The things that show least of themselves sometimes, and chance things."""
    least = clip.masks.sum(axis=(2, 3)).min(axis=0) / clip.masks[0].sum(axis=(1, 2)).clip(min=1)
    chosen = sorted(clip.in_view, key=lambda thing: least[thing] + 0.3 * rng.random())
    return sorted(chosen[:ASKED_THINGS])


def _first_frames(rng: random.Random) -> tuple[int, ...]:
    """The model's prompted frames are neighbours, so one may stand for others."""
    return tuple(rng.randrange(MOST_FIRST) for _ in range(rng.choice((1, 1, 2, PROMPTED))))


def _held(rng: random.Random, things: list[tuple[int, int]], number: int) -> int:
    chance = rng.random()
    if chance < MISSED:
        return -1
    video, thing = things[number]
    others = [i for i, (v, other) in enumerate(things) if v == video and other != thing]
    return rng.choice(others) if others and chance < MISSED + MISTAKEN else number


def _box(clip: Clip, thing: int) -> tuple[float, ...]:
    return box_of(clip.masks[0, thing])


def _values(clip: Clip, thing: int) -> tuple[int, ...]:
    return value_indices(clip.facts.words[thing])


def _masks(clip: Clip, thing: int) -> np.ndarray:
    return np.stack([soft_mask(masks, (thing,)) for masks in clip.masks])


def _strangers(
    rng: random.Random, clips: Sequence[Clip], things: list[tuple[int, int]]
) -> list[int]:
    """Half of the things that nothing in the next video looks like."""
    looks = [{words[2:] for words in clip.facts.words} for clip in clips]
    return [
        number
        for number, (video, thing) in enumerate(things)
        if clips[video].facts.words[thing][2:] not in looks[(video + 1) % len(clips)]
        and rng.random() < 0.5
    ]
