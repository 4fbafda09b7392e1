"""The last stage: `track`, in which the segmenter learns to remember.

The shipped tracker itself runs on short videos in which things hide; only the segmenter is
replaced by one that keeps all three masks of each object for the loss.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sa2va_cli.demo.candidates import Candidates, decode, prompted, take, with_fine_levels
from sa2va_cli.demo.conversations import Sequences, into_rows, pack
from sa2va_cli.demo.learner import Learner, Measures, NamedParameters, is_video_only, parameters_of
from sa2va_cli.demo.lessons import Lesson, make_lesson, video_exchanges
from sa2va_cli.demo.losses import mask_loss
from sa2va_cli.demo.motion import PROMPTED, Clip, make_clip
from sa2va_cli.demo.questions import Exchange
from sa2va_cli.demo.scenes import HELD_OUT_SEED
from sa2va_cli.demo.speaking import draw, project, read, see, understand
from sa2va_cli.demo.targets import sam_pixels, soft_mask, vision_pixels
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.segmenter import DecodedMasks, Segmenter
from sa2va_cli.models.sa2va.tracker import Tracker

VISIBLE = 0.5  # cells of the mask grid: an object that shows less is hidden


@dataclass(frozen=True, slots=True)
class Footage:
    """A batch of B videos of T frames with N objects in all."""

    pixel_values: Tensor  # (B * 5, ...) for the language model
    sam_pixel_values: Tensor  # (B * T, ...) video by video
    sequences: Sequences
    videos: Tensor  # (N,) the video of each object
    tokens: Tensor  # (N,) where its [SEG] stands
    masks: Tensor  # (T, N, side, side)
    free: int  # so many frames are only followed; from the later ones is learnt


# (length, frames only followed, least and most hurry): in short videos the whole way from the
# prompted frames on teaches, in long ones the end, after what has gone well or wrong before.
SHORT, LONG = (12, 0, (1.4, 2.6)), (22, 15, (0.8, 1.5))


class Track:
    """Eyes and language stay as they are; memory learns, and the mask decoder a little.

    Single pictures come in between, so that the decoder forgets nothing about them.
    """

    name = "track"
    pictures = 12_000
    coolest = 0.02
    batch = 2
    objects = 2  # a video
    images = 4  # in place of each video, in one step of four

    def prepare(self, seeds: Sequence[int]) -> Footage | Lesson:
        rng = random.Random(seeds[0])
        # Neighbours are alike, so that two workers do not wait for each other.
        kind = seeds[0] // (2 * self.batch) % 4
        if kind == 3:
            first = self.images * seeds[0]
            return make_lesson(range(first, first + self.images * self.batch), 5, drawn=4)
        length, free, hurry = (SHORT, LONG)[kind % 2]
        videos = [self._video(rng, length, hurry) for _ in seeds]
        rows = [into_rows(rng, exchanges, {}) for _, exchanges in videos]
        sequences, starts = pack(rows, PROMPTED)
        owners, tokens, masks = [], [], []
        for number, (clip, exchanges) in enumerate(videos):
            places = [
                start + seg
                for row, start in zip(rows[number], starts[number], strict=True)
                for seg in row.segs
            ]
            targets = [things for exchange in exchanges for things in exchange.targets]
            for place, things in list(zip(places, targets, strict=True))[: self.objects]:
                owners.append(number)
                tokens.append(place)
                masks.append(np.stack([soft_mask(frame, things) for frame in clip.masks]))
        clips = [clip for clip, _ in videos]
        return Footage(
            vision_pixels([frame for clip in clips for frame in clip.frames[:PROMPTED]]),
            sam_pixels([frame for clip in clips for frame in clip.frames]),
            sequences,
            torch.tensor(owners),
            torch.tensor(tokens),
            torch.from_numpy(np.stack(masks, axis=1)),
            free,
        )

    def _video(
        self, rng: random.Random, length: int, hurry: tuple[float, float]
    ) -> tuple[Clip, list[Exchange]]:
        """One with something to segment in it, and mostly one in which that hides."""
        while True:
            hiding = rng.random() < 0.75
            clip = make_clip(rng.randrange(HELD_OUT_SEED), length, rng.uniform(*hurry), hiding)
            found = video_exchanges(rng, clip, 16)
            different = {one.targets[0]: one for one in found if one.targets}
            exchanges = sorted(different.values(), key=lambda one: -hides(clip, one.targets[0]))
            if exchanges:
                return clip, exchanges[: self.objects]

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]:
        segmenter = parameters_of(learner.model.segmenter)
        memory = [pair for pair in segmenter if is_video_only(pair[0])]
        decoder = [pair for pair in segmenter if pair[0].startswith("mask_decoder")]
        return [(memory, 1.0), (decoder, 0.12)]

    def loss(self, learner: Learner, batch: Footage | Lesson) -> tuple[Tensor, Measures]:
        if isinstance(batch, Footage):
            return self._follow(learner, batch)
        with torch.no_grad():
            understood = understand(learner, batch, see(learner, batch.pixel_values))
        loss, ious = draw(learner, batch, understood)
        return loss, {"still_iou": [iou for each in ious.values() for iou in each]}

    def _follow(self, learner: Learner, batch: Footage) -> tuple[Tensor, Measures]:
        length = len(batch.masks)
        with torch.no_grad():
            prompts = read_prompts(learner, batch)
            segmenter = learner.model.segmenter
            features = segmenter.image_encoder(batch.sam_pixel_values)
        watching = Watching(segmenter)
        tracker = Tracker(watching)  # type: ignore[arg-type]  # it acts as a segmenter
        loss = torch.zeros((), device=prompts.device)
        measures: Measures = {}
        was_hidden = torch.zeros(len(prompts), dtype=torch.bool, device=prompts.device)
        for time in range(length):
            with torch.set_grad_enabled(time >= batch.free and torch.is_grad_enabled()):
                seen = with_fine_levels(segmenter, frames_at(features, time, length))
                frame = take(seen, batch.videos)
                if time < PROMPTED:
                    name = "prompted"
                    tracker.condition(time, frame, watching.decode_prompts(frame, prompts))
                else:
                    name = "tracked"
                    tracker.track_frame(time, frame)
                part, shown = frame_loss(watching.drawn[-1], batch.masks[time], name, was_hidden)
            if time >= batch.free:
                loss = loss + part * (0.4 if time < PROMPTED else 1.0)
            for key, values in shown.items():
                measures.setdefault(key, []).extend(values)
            was_hidden = was_hidden | ~is_visible(batch.masks[time])
        return loss / (length - batch.free), measures


def hides(clip: Clip, things: tuple[int, ...]) -> bool:
    """Whether they disappear, wholly or nearly, and come back."""
    areas = clip.masks[:, list(things)].sum(axis=(1, 2, 3))
    gone = areas < 0.15 * areas[0]
    return bool(gone.any() and areas[-1] > 0.3 * areas[0])


def read_prompts(learner: Learner, batch: Footage) -> Tensor:
    """(N, 1, C): what the language model says of each object."""
    count = len(batch.sequences.ids)
    visual = project(learner, see(learner, batch.pixel_values))
    states = read(learner, batch.sequences, visual.unflatten(0, (count, -1)).flatten(1, 2))
    prompts: Tensor = learner.model.seg_bridge(states[batch.videos, batch.tokens])
    return prompts


def frames_at(features: FrameFeatures, time: int, length: int) -> FrameFeatures:
    """One frame of each video."""
    return FrameFeatures(
        features.coarse[time::length], features.middle[time::length], features.fine[time::length]
    )


class Watching:
    """A segmenter for the tracker that remembers every mask it drew."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self.config = segmenter.config
        self.memory_attention = segmenter.memory_attention
        self.memory_encoder = segmenter.memory_encoder
        self.memory_time_embedding = segmenter.memory_time_embedding
        self.drawn: list[Candidates] = []

    def decode_prompts(self, features: FrameFeatures, prompts: Tensor) -> DecodedMasks:
        return self._best(prompted(self.segmenter, features, prompts))

    def decode_tracked(
        self, coarse: Tensor, features: FrameFeatures, *, original: bool = False
    ) -> DecodedMasks:
        assert not original  # there is one decoder
        sparse = self.segmenter.prompt_tokens.empty(len(coarse))
        return self._best(decode(self.segmenter, coarse, features, sparse))

    def _best(self, drawn: Candidates) -> DecodedMasks:
        self.drawn.append(drawn)
        each = torch.arange(len(drawn.ious), device=drawn.ious.device)
        best = drawn.ious.argmax(dim=1)
        pointers = self.segmenter.pointer_projection(drawn.tokens[each, best])
        there = drawn.object_logits[:, None] > 0
        return DecodedMasks(
            mask_logits=drawn.mask_logits[each, best],
            scores=drawn.ious[each, best],
            object_logits=drawn.object_logits,
            pointers=torch.where(there, pointers, self.segmenter.no_object_pointer),
        )


def is_visible(masks: Tensor) -> Tensor:
    """(N, side, side) -> (N,) bool."""
    return masks.flatten(1).sum(dim=1) > VISIBLE


def frame_loss(
    drawn: Candidates, masks: Tensor, name: str, was_hidden: Tensor
) -> tuple[Tensor, Measures]:
    """Masks of what is seen, nothing for what is hidden, and which of both it is."""
    visible = is_visible(masks)
    loss = 0.5 * F.binary_cross_entropy_with_logits(drawn.object_logits, visible.float())
    known = ((drawn.object_logits > 0) == visible).float()
    measures: Measures = {f"{name}_seen": known.tolist()}
    if visible.any():
        part, ious = mask_loss(drawn.mask_logits[visible], drawn.ious[visible], masks[visible])
        loss = loss + part
        measures[f"{name}_iou"] = ious.tolist()
        measures["back_iou"] = ious[was_hidden[visible]].tolist()
    if not visible.all():
        loss = loss + 5 * F.softplus(drawn.mask_logits[~visible]).mean()
        measures[f"{name}_empty"] = (
            ((drawn.mask_logits[~visible, 0] > 0).flatten(1).sum(dim=1) < 2).float().tolist()
        )
    return loss, measures
