"""The last stage: `track`, in which the segmenter learns to remember.

The shipped tracker itself runs on videos in which things hide, and goes on from its own masks.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa2va_cli.demo.candidates import take, with_fine_levels
from sa2va_cli.demo.conversations import Sequences, into_rows, pack, seg_places
from sa2va_cli.demo.learner import Learner, Measures, NamedParameters
from sa2va_cli.demo.lessons import Lesson, video_exchanges
from sa2va_cli.demo.motion import PROMPTED, Clip, Sequel, make_clip
from sa2va_cli.demo.questions import Exchange
from sa2va_cli.demo.recalling import Album, make_album, recall_loss
from sa2va_cli.demo.scenes import HELD_OUT_SEED
from sa2va_cli.demo.speaking import project, read, see
from sa2va_cli.demo.stills import make_stills, stills_loss
from sa2va_cli.demo.targets import sam_pixels, soft_mask, vision_pixels
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
from sa2va_cli.models.sa2va.tracker import NUM_RECENT, Tracker


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


@dataclass(frozen=True, slots=True)
class Take:
    """A kind of video to learn from."""

    length: int
    free: int  # frames that are only followed
    hurry: tuple[float, float]  # least and most


# In short videos the whole way from the prompted frames on teaches; in long ones the end, after
# what has gone well or wrong before.
SHORT = Take(12, 0, (1.0, 2.4))
LONG = Take(22, 15, (0.8, 1.5))
# In between come single pictures and the lesson of the stage before: a thing that was lost is still
# to be found.
PICTURES, RECALL = "pictures", "recall"
KINDS = (SHORT, RECALL, PICTURES, LONG, RECALL, SHORT, PICTURES, LONG)  # in turns


class Track:
    """Eyes and language stay as they are; memory learns, and the mask decoder a little."""

    name = "track"
    pictures = 12_000
    coolest = 0.02
    batch = 2
    objects = 3  # a video

    def prepare(self, seeds: Sequence[int]) -> Footage | Lesson | Album:
        rng = random.Random(seeds[0])
        # Neighbours are alike, so that two workers do not wait for each other.
        kind = KINDS[seeds[0] // (2 * self.batch) % len(KINDS)]
        if kind == RECALL:
            return make_album(rng, seeds)
        if not isinstance(kind, Take):
            return make_stills(seeds)
        return self._footage(rng, kind, [self._video(rng, kind) for _ in seeds])

    def _footage(
        self, rng: random.Random, kind: Take, videos: list[tuple[Clip, list[Exchange]]]
    ) -> Footage:
        clips = [clip for clip, _ in videos]
        rows = [into_rows(rng, exchanges, {}) for _, exchanges in videos]
        sequences, starts = pack(rows, PROMPTED)
        owners, tokens, masks = [], [], []
        for number, (clip, exchanges) in enumerate(videos):
            targets = [things for exchange in exchanges for things in exchange.targets]
            places = seg_places(rows[number], starts[number])
            for place, things in list(zip(places, targets, strict=True))[: self.objects]:
                owners.append(number)
                tokens.append(place)
                masks.append(np.stack([soft_mask(frame, things) for frame in clip.masks]))
        return Footage(
            vision_pixels([frame for clip in clips for frame in clip.frames[:PROMPTED]]),
            sam_pixels([frame for clip in clips for frame in clip.frames]),
            sequences,
            torch.tensor(owners),
            torch.tensor(tokens),
            torch.from_numpy(np.stack(masks, axis=1)),
            kind.free,
        )

    def _video(self, rng: random.Random, kind: Take) -> tuple[Clip, list[Exchange]]:
        """One with something to segment in it, and mostly one in which that hides."""
        while True:
            hiding = rng.random() < 0.75
            seed, hurry = rng.randrange(HELD_OUT_SEED), rng.uniform(*kind.hurry)
            clip = make_clip(seed, kind.length, hurry, Sequel(hiding))
            found = video_exchanges(rng, clip, 16)
            different = {one.targets[0]: one for one in found if one.targets}
            exchanges = sorted(different.values(), key=lambda one: -hides(clip, one.targets[0]))
            if exchanges:
                return clip, exchanges[: self.objects]

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]:
        return decoder_and_memory(learner, 0.18, 0.18)  # faster, it unlearns what it recalls

    def loss(self, learner: Learner, batch: Footage | Lesson | Album) -> tuple[Tensor, Measures]:
        if isinstance(batch, Footage):
            return self._follow(learner, batch)
        if isinstance(batch, Album):
            return recall_loss(learner, batch)
        return stills_loss(learner, batch)

    def _follow(self, learner: Learner, batch: Footage) -> tuple[Tensor, Measures]:
        length = len(batch.masks)
        segmenter = learner.model.segmenter
        with torch.no_grad():
            prompts = read_prompts(learner, batch)
            features = segmenter.image_encoder(batch.sam_pixel_values)
        watching = Watching(segmenter)
        tracker = Tracker(watching)  # type: ignore[arg-type]  # it acts as a segmenter
        loss = torch.zeros((), device=prompts.device)
        measures: Measures = {}
        was_hidden = torch.zeros(len(prompts), dtype=torch.bool, device=prompts.device)
        side = features.coarse.shape[-1]
        things = [shown_things(masks, batch.videos, side) for masks in batch.masks]
        for time in range(length):
            name = "prompted" if time < PROMPTED else "tracked"
            with torch.set_grad_enabled(time >= batch.free and torch.is_grad_enabled()):
                seen = with_fine_levels(segmenter, frames_at(features, time, length))
                frame = take(seen, batch.videos)
                if time < PROMPTED:
                    tracker.condition(time, frame, watching.decode_prompts(frame, prompts))
                else:
                    tracker.track_frame(time, frame)
                part, shown = frame_loss(watching.drawn[-1], batch.masks[time], name, was_hidden)
                if time >= PROMPTED:
                    held = [*range(PROMPTED), *recent_frames(time)]
                    memory = torch.cat([things[i] for i in held], dim=1)
                    matching, matched = matching_loss(watching.reads, things[time], memory)
                    part = part + remembering_loss(learner, watching.asked, batch.masks[time])
                    part, shown = part + MATCHING * matching, shown | matched
            if time >= batch.free:
                loss = loss + part * (0.4 if time < PROMPTED else 1.0)
            for key, values in shown.items():
                measures.setdefault(key, []).extend(values)
            was_hidden = was_hidden | ~is_visible(batch.masks[time])
        return loss / (length - batch.free), measures


def recent_frames(time: int) -> range:
    """The tracked frames whose cells memory holds, as the tracker lines them up."""
    return range(time - 1, max(PROMPTED, time - NUM_RECENT) - 1, -1)


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
