"""The segmenter as the tracker sees it while memory learns, and what its masks are worth."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sa2va_cli.demo.candidates import Candidates, decode, prompted
from sa2va_cli.demo.learner import Learner, Measures, NamedParameters, is_video_only, parameters_of
from sa2va_cli.demo.losses import mask_loss
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.memory import RopeAttention
from sa2va_cli.models.sa2va.segmenter import DecodedMasks, Segmenter

VISIBLE = 2.0  # cells of a true mask: an object that shows less is hidden
MATCHING = 0.3  # weight of the loss of that name, summed over layers
SUREST = 32  # cells of a drawn mask, the size of a small thing
EDGE = 3  # cells about a thing in which its edge may come to lie
FALSE_ALARM = 0.3  # weight of the surest cells where nothing is to be drawn
SHOWN = 0.3  # of a coarse cell: so much of it a thing covers that the cell shows it


class Watching:
    """A segmenter for the tracker that keeps all three masks of each object, for the loss."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self.config = segmenter.config
        self.memory_encoder = segmenter.memory_encoder
        self.memory_time_embedding = segmenter.memory_time_embedding
        self.drawn: list[Candidates] = []
        self.asked = torch.zeros(0)  # (N, C, h, w) the newest frame as memory sees it
        self.reads: list[tuple[RopeAttention, Any]] = []  # how it came to that, layer by layer

    def memory_attention(
        self, coarse: Tensor, memory: Tensor, positions: Tensor, num_pointers: int
    ) -> Tensor:
        attend = self.segmenter.memory_attention
        self.reads = []
        hooks = [
            layer.cross_attn_image.register_forward_pre_hook(  # type: ignore[union-attr]
                lambda module, given: self.reads.append((module, given))
            )
            for layer in attend.layers
        ]
        self.asked = attend(coarse, memory, positions, num_pointers)
        for hook in hooks:
            hook.remove()
        return self.asked

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


def decoder_and_memory(
    learner: Learner, memory_share: float, decoder_share: float
) -> list[tuple[NamedParameters, float]]:
    """What learns to remember, each with its share of the rate."""
    segmenter = parameters_of(learner.model.segmenter)
    memory = [pair for pair in segmenter if is_video_only(pair[0])]
    decoder = [pair for pair in segmenter if pair[0].startswith("mask_decoder")]
    memory += parameters_of(learner.heads.remembered)
    return [(memory, memory_share), (decoder, decoder_share)]


def frames_at(features: FrameFeatures, time: int, length: int) -> FrameFeatures:
    """One frame of each video."""
    return FrameFeatures(
        features.coarse[time::length], features.middle[time::length], features.fine[time::length]
    )


def is_visible(masks: Tensor) -> Tensor:
    """(N, side, side) -> (N,) bool."""
    return masks.flatten(1).sum(dim=1) > VISIBLE


def remembering_loss(learner: Learner, asked: Tensor, masks: Tensor) -> Tensor:
    """Each coarse cell must tell how much of it the object covers, before anything is drawn.

    Through the decoder alone, memory attention takes very long to find out what it is for.
    """
    told = learner.heads.remembered(asked.flatten(2).mT)[..., 0].float()  # (N, hw)
    covered = F.adaptive_avg_pool2d(masks[:, None], asked.shape[-1]).flatten(1)
    shown = told.sigmoid()
    overlap = 2 * (shown * covered).sum(dim=1) + 1
    area = (shown**2).sum(dim=1) + (covered**2).sum(dim=1) + 1
    pixelwise = F.binary_cross_entropy_with_logits(told, covered)
    return 3 * pixelwise + (1 - overlap / area).mean()


def matching_loss(
    reads: list[tuple[RopeAttention, Any]], sought: Tensor, held: Tensor
) -> tuple[Tensor, Measures]:
    """Each cell of a thing must look at the cells that showed the same thing, whose mask it is
    or not: so memory tells things apart by their looks.

    Args:
        reads: the attentions to memory and what they were given.
        sought: (N, hw) which thing each cell of the frame shows, -1 for none.
        held: (N, S) the same for the cells in memory.
    """
    same = (sought[..., None] == held[:, None]) & (sought >= 0)[..., None]  # (N, hw, S)
    known = same.any(dim=2)
    loss = torch.zeros((), device=sought.device)
    shares: list[float] = []
    for attention, (queries, keys, _, table, num_pointers) in reads:
        queries, keys = attention.placed(queries, keys, table, num_pointers)
        likeness = (queries @ keys.mT).float() / queries.shape[-1] ** 0.5  # (N, hw, S + pointers)
        right = likeness[..., : held.shape[1]].masked_fill(~same, -torch.inf)
        surprise = likeness.logsumexp(dim=2)[known] - right[known].logsumexp(dim=1)
        loss = loss + surprise.sum() / known.sum().clamp(min=1)
        shares = (-surprise).exp().tolist()
    return loss, {"matched": shares}


def shown_things(masks: Tensor, videos: Tensor, side: int) -> Tensor:
    """(N, S, S) masks of things in some videos (N,) -> (N, side * side): for each of them what the
    cells of its video show, as the number of a thing, -1 for none of them."""
    covered = F.adaptive_avg_pool2d(masks[:, None], side).flatten(1)  # (N, hw)
    apart = videos[:, None] != videos
    most, which = covered.masked_fill(apart[..., None], 0).max(dim=1)
    return torch.where(most > SHOWN, which, -1)


def frame_loss(
    drawn: Candidates, masks: Tensor, name: str, was_hidden: Tensor
) -> tuple[Tensor, Measures]:
    """Masks of what is seen, nothing for what is hidden, and which of both it is."""
    visible = is_visible(masks)
    loss = 0.5 * F.binary_cross_entropy_with_logits(drawn.object_logits, visible.float())
    loss = loss + 0.2 * stray_loss(drawn.mask_logits, masks)
    known = ((drawn.object_logits > 0) == visible).float()
    measures: Measures = {f"{name}_seen": known.tolist()}
    seen = visible.float().mean()
    if visible.any():
        part, ious = mask_loss(drawn.mask_logits[visible], drawn.ious[visible], masks[visible])
        loss = loss + seen * part
        measures[f"{name}_iou"] = ious.tolist()
        measures["back_iou"] = ious[was_hidden[visible]].tolist()
    if not visible.all():
        hidden = drawn.mask_logits[~visible]
        alarm = F.softplus(hidden).flatten(2).topk(SUREST).values.mean()
        loss = loss + (1 - seen) * (5 * F.softplus(hidden).mean() + FALSE_ALARM * alarm)
        measures[f"{name}_empty"] = ((hidden[:, 0] > 0).flatten(1).sum(dim=1) < 2).float().tolist()
    return loss, measures


def stray_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Of three candidates (N, 3, side, side), the surest cells off the objects (N, S, S).

    Another thing, surely drawn, is where cross-entropy and dice are flat; and a tracker that has
    once drawn it remembers it and goes on. Cells at the object's edge do not count: being the
    surest of all, they would teach masks that are too small.
    """
    covered = (F.adaptive_max_pool2d(masks[:, None], logits.shape[-1]) > 0).float()
    near = F.max_pool2d(covered, 2 * EDGE + 1, stride=1, padding=EDGE) > 0
    outside = logits.masked_fill(near, -torch.inf)
    return F.softplus(outside.flatten(2).topk(SUREST).values).mean()
