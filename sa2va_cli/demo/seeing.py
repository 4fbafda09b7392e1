"""The stages in which the two eyes learn, each alone.

look   the vision tower: each patch names the thing that covers it
trace  the segmenter: a stand-in for the language model says what to draw
teach  the stand-in alone, for a segmenter that has learnt to draw
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa2va_cli.demo.candidates import prompted, take, with_fine_levels
from sa2va_cli.demo.learner import Learner, Measures, NamedParameters, is_video_only, parameters_of
from sa2va_cli.demo.losses import dense_loss, mask_loss
from sa2va_cli.demo.phrases import SUBSETS, describe
from sa2va_cli.demo.scenes import Scene, make_scene
from sa2va_cli.demo.targets import (
    DenseTargets,
    box_of,
    dense_targets,
    sam_pixels,
    soft_mask,
    value_indices,
    vision_pixels,
)


@dataclass(frozen=True, slots=True)
class LookBatch:
    pixel_values: Tensor
    targets: DenseTargets


class Look:
    """Crowded pictures, dense supervision: the one stage that teaches shapes."""

    name = "look"
    pictures = 80_000
    coolest = 0.02
    batch = 16

    def prepare(self, seeds: Sequence[int]) -> LookBatch:
        scenes = [make_scene(seed, crowded=True) for seed in seeds]
        return LookBatch(vision_pixels([scene.image for scene in scenes]), dense_targets(scenes))

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]:
        trained = parameters_of(learner.model.vision_encoder)
        return [(trained + parameters_of(learner.heads.dense), 1.0)]

    def loss(self, learner: Learner, batch: LookBatch) -> tuple[Tensor, Measures]:
        states = learner.model.vision_encoder(pixel_values=batch.pixel_values).last_hidden_state
        loss, shown = dense_loss(learner.heads.dense(states[:, 1:]), batch.targets)
        return loss, {name: [value] for name, value in shown.items()}


@dataclass(frozen=True, slots=True)
class TraceBatch:
    sam_pixel_values: Tensor
    frames: Tensor  # (N,) the picture of each object
    boxes: Tensor  # (N, 4)
    has_box: Tensor  # (N,) bool
    values: Tensor  # (N, 4), -1 where the attribute is not told
    masks: Tensor  # (N, side, side)


class Trace:
    """A box, attributes or both are told; the mask is to be drawn."""

    name = "trace"
    pictures = 60_000
    coolest = 0.02
    batch = 6
    objects = 6  # a picture

    def prepare(self, seeds: Sequence[int]) -> TraceBatch:
        scenes = [make_scene(seed, crowded=seed % 2 == 0) for seed in seeds]
        rng = random.Random(seeds[0])
        told = [
            (number, *tell(rng, scene, index))
            for number, scene in enumerate(scenes)
            for index in rng.sample(range(len(scene.things)), min(len(scene.things), self.objects))
        ]
        frames, boxes, has_box, values, masks = zip(*told, strict=True)
        return TraceBatch(
            sam_pixels([scene.image for scene in scenes]),
            torch.tensor(frames),
            torch.tensor(boxes, dtype=torch.float32),
            torch.tensor(has_box),
            torch.tensor(values),
            torch.from_numpy(np.stack(masks)),
        )

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]:
        segmenter = parameters_of(learner.model.segmenter, skip=is_video_only)
        return [(segmenter + parameters_of(learner.heads.teacher), 1.0)]

    def loss(self, learner: Learner, batch: TraceBatch) -> tuple[Tensor, Measures]:
        segmenter = learner.model.segmenter
        prompts = learner.heads.teacher(batch.boxes, batch.has_box, batch.values)
        seen = with_fine_levels(segmenter, segmenter.encode(batch.sam_pixel_values))
        features = take(seen, batch.frames)
        drawn = prompted(segmenter, features, prompts)
        loss, ious = mask_loss(drawn.mask_logits, drawn.ious, batch.masks)
        return loss, {
            "iou_with_box": ious[batch.has_box].tolist(),
            "iou_by_attributes": ious[~batch.has_box].tolist(),
        }


class Teach(Trace):
    """Where training goes on from a checkpoint, which holds no stand-in: a new one learns to say
    what that segmenter understands."""

    name = "teach"
    pictures = 4_500

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]:
        return [(parameters_of(learner.heads.teacher), 1.0)]


def tell(
    rng: random.Random, scene: Scene, index: int
) -> tuple[tuple[float, ...], bool, tuple[int, ...], np.ndarray]:
    """What the teacher says of a thing: box, whether there is one, attributes; and the mask.

    Boxes are a little off, as the language model's idea of a place will be. Attributes without a
    box mean everything that fits them.
    """
    facts = scene.facts
    values = value_indices(facts.words[index])
    case = rng.random()
    x, y, width, height = box_of(scene.masks[index])
    sideways, upwards, wider = (rng.gauss(0, 1) for _ in range(3))
    box = (
        x + 0.02 * sideways,
        y + 0.02 * upwards,
        width * 1.1**wider,
        height * 1.1**wider,
    )
    if case < 0.65:
        told = values if case < 0.45 else (-1, -1, -1, -1)
        return box, True, told, soft_mask(scene.masks, (index,))
    subset = rng.choice(SUBSETS)
    fitting = facts.matching(describe(facts.words[index], subset))
    told = tuple(value if i in subset else -1 for i, value in enumerate(values))
    return box, False, told, soft_mask(scene.masks, fitting)
