"""The segmenter as training sees it: all three masks of each object, not only the best one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class Candidates:
    """The mask decoder's whole output for N objects, float32 whatever it computed in."""

    mask_logits: Tensor  # (N, 3, side, side)
    ious: Tensor  # (N, 3) predicted
    tokens: Tensor  # (N, 3, C)
    object_logits: Tensor  # (N,)


def take(features: FrameFeatures, frames: Tensor) -> FrameFeatures:
    """The features of one frame for each object: (T, ...) -> (N, ...)."""
    return FrameFeatures(features.coarse[frames], features.middle[frames], features.fine[frames])


def with_fine_levels(segmenter: Segmenter, features: FrameFeatures) -> FrameFeatures:
    """What the image encoder saw, through the decoder's own convolutions (which learn)."""
    return FrameFeatures(
        coarse=features.coarse,
        middle=segmenter.mask_decoder.conv_s1(features.middle),
        fine=segmenter.mask_decoder.conv_s0(features.fine),
    )


def prompted(segmenter: Segmenter, features: FrameFeatures, prompts: Tensor) -> Candidates:
    """`Segmenter.decode_prompts`, for objects in different frames: (N, ...) and (N, 1, C)."""
    coarse = features.coarse + segmenter.no_memory_embedding.view(1, -1, 1, 1)
    sparse = torch.cat((segmenter.prompt_tokens.empty(len(prompts)), prompts), dim=1)
    return decode(segmenter, coarse, features, sparse)


def decode(
    segmenter: Segmenter, coarse: Tensor, features: FrameFeatures, sparse: Tensor
) -> Candidates:
    """Coarse (N, C, h, w), fine levels (N, ...) and sparse tokens (N, tokens, C)."""
    masks, ious, tokens, object_logits = segmenter.mask_decoder(
        image_embeddings=coarse,
        image_positional_embeddings=segmenter.prompt_tokens.image_positions(coarse),
        sparse_prompt_embeddings=sparse[:, None],
        dense_prompt_embeddings=segmenter.prompt_tokens.no_mask.view(1, -1, 1, 1),
        multimask_output=True,
        high_resolution_features=[features.fine, features.middle],
    )
    return Candidates(
        masks[:, 0].float(), ious[:, 0].float(), tokens[:, 0], object_logits.flatten().float()
    )
