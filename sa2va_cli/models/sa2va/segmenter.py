"""SAM 2's image part, prompted by language: features and prompt embeddings in, masks out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.sam2.configuration_sam2 import Sam2MaskDecoderConfig
from transformers.models.sam2.modeling_sam2 import Sam2FeedForward, Sam2MaskDecoder

from sa2va_cli.models.sa2va.config import SegmenterConfig
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures, ImageEncoder
from sa2va_cli.models.sa2va.memory import MemoryAttention, build_memory_encoder

NUM_MEMORIES = 7  # one slot for prompted frames, six for the frames just before


@dataclass(frozen=True, slots=True)
class DecodedMasks:
    """What the mask decoder says about N objects, each in its frame."""

    mask_logits: Tensor  # (N, side, side) float32: the best of three masks
    scores: Tensor  # (N,) float32: predicted IoU of that mask
    object_logits: Tensor  # (N,) float32: is the object in the frame?
    pointers: Tensor  # (N, C): the object's token, for memory


class PromptTokens(nn.Module):
    """What SAM 2's prompt encoder says when nobody clicks: all that Sa2VA uses of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.not_a_point = nn.Parameter(torch.zeros(1, width))
        self.no_mask = nn.Parameter(torch.zeros(1, width))
        self.register_buffer("position_matrix", torch.zeros(2, width // 2))
        self.position_matrix: Tensor

    def empty(self, num_objects: int) -> Tensor:
        """(N, 2, C): no point given, twice; the second pads for the box that is not given."""
        return self.not_a_point.expand(num_objects, 2, -1)

    def image_positions(self, coarse: Tensor) -> Tensor:
        """(B, C, h, w): Fourier features of the cell centres, in the stored matrix's dtype."""
        height, width = coarse.shape[-2:]
        matrix = self.position_matrix
        rows = (torch.arange(height, device=matrix.device, dtype=matrix.dtype) + 0.5) / height
        columns = (torch.arange(width, device=matrix.device, dtype=matrix.dtype) + 0.5) / width
        centres = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        angles = 2 * torch.pi * ((2 * centres - 1) @ matrix)  # (h, w, C / 2)
        positions = torch.cat((angles.sin(), angles.cos()), dim=-1).permute(2, 0, 1)
        return positions[None].to(coarse.dtype).expand(len(coarse), -1, -1, -1)


class Segmenter(nn.Module):
    """SAM 2.0 with a third sparse prompt token: the language embedding.

    Two decodings exist: `decode_prompts` for frames that get a language prompt, and
    `decode_tracked` for frames whose features have gone through memory attention.
    """

    def __init__(self, config: SegmenterConfig, attention: str) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.image_encoder = ImageEncoder(config, attention)
        self.prompt_tokens = PromptTokens(width)
        self.mask_decoder = Sam2MaskDecoder(mask_decoder_config(config, attention))
        self.memory_attention = MemoryAttention(config)
        self.memory_encoder = build_memory_encoder(config, attention)
        self.pointer_projection = Sam2FeedForward(width, width, width, num_layers=3)
        self.no_memory_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.no_object_pointer = nn.Parameter(torch.zeros(1, width))
        self.memory_time_embedding = nn.Parameter(
            torch.zeros(NUM_MEMORIES, 1, 1, config.memory_size)
        )

    def encode(self, sam_pixel_values: Tensor) -> FrameFeatures:
        """(T, 3, size, size) -> features, the fine ones through the decoder's convolutions."""
        features = self.image_encoder(sam_pixel_values)
        return FrameFeatures(
            coarse=features.coarse,
            middle=self.mask_decoder.conv_s1(features.middle.float()),
            fine=self.mask_decoder.conv_s0(features.fine.float()),
        )

    def decode_prompts(self, features: FrameFeatures, prompt_embeddings: Tensor) -> DecodedMasks:
        """Features of one frame and (N, 1, C) prompts -> masks of N objects in that frame."""
        empty = self.prompt_tokens.empty(len(prompt_embeddings))
        sparse = torch.cat((empty, prompt_embeddings), dim=1)[None]  # (1, N, 3, C)
        coarse = features.coarse + self.no_memory_embedding.view(1, -1, 1, 1)
        return self._decode(coarse, features, sparse)

    def decode_tracked(self, coarse: Tensor, features: FrameFeatures) -> DecodedMasks:
        """(N, C, h, w) conditioned on each object's memory, and the frame's fine levels."""
        sparse = self.prompt_tokens.empty(len(coarse))[:, None]  # (N, 1, 2, C)
        expanded = FrameFeatures(
            coarse=coarse,
            middle=features.middle.expand(len(coarse), -1, -1, -1),
            fine=features.fine.expand(len(coarse), -1, -1, -1),
        )
        return self._decode(coarse, expanded, sparse)

    def _decode(self, coarse: Tensor, features: FrameFeatures, sparse: Tensor) -> DecodedMasks:
        coarse = coarse.float()  # the decoder is kept in float32, see checkpoint.PRECISE_PARTS
        masks, ious, tokens, object_logits = self.mask_decoder(
            image_embeddings=coarse,
            image_positional_embeddings=self.prompt_tokens.image_positions(coarse),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=self.prompt_tokens.no_mask.view(1, -1, 1, 1),
            multimask_output=True,
            high_resolution_features=[features.fine, features.middle],
        )
        best = ious.flatten(0, 1).argmax(dim=1)  # (N,)
        each = torch.arange(len(best), device=best.device)
        object_logits = object_logits.flatten().float()
        pointers = self.pointer_projection(tokens.flatten(0, 1)[each, best])
        # Absent: the pointer says so, but the mask stays as it is (unlike the original SAM 2).
        pointers = torch.where(object_logits[:, None] > 0, pointers, self.no_object_pointer)
        return DecodedMasks(
            mask_logits=masks.flatten(0, 1)[each, best].float(),
            scores=ious.flatten(0, 1)[each, best].float(),
            object_logits=object_logits,
            pointers=pointers,
        )


def mask_decoder_config(config: SegmenterConfig, attention: str) -> Sam2MaskDecoderConfig:
    return Sam2MaskDecoderConfig(
        hidden_size=config.hidden_size,
        mlp_dim=config.decoder_mlp,
        iou_head_hidden_dim=config.iou_head_hidden,
        attn_implementation=attention,
    )


def full_size_masks(mask_logits: Tensor, image_size: int, height: int, width: int) -> Tensor:
    """(N, side, side) logits -> (N, H, W) bool: two bilinear steps, as the reference takes them.

    The threshold is sigmoid(x) > 0.5 in float32, which is not exactly x > 0.
    """
    square = upscale_logits(mask_logits, image_size)
    resized = F.interpolate(square[:, None], size=(height, width), mode="bilinear")[:, 0]
    return resized.sigmoid() > 0.5


def upscale_logits(mask_logits: Tensor, image_size: int) -> Tensor:
    """(N, side, side) -> (N, image_size, image_size) float32."""
    logits = mask_logits[:, None].float()
    return F.interpolate(logits, size=(image_size, image_size), mode="bilinear")[:, 0]
