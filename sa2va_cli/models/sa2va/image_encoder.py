"""SAM 2's eye: the Hiera backbone and its feature pyramid, run once a frame for all objects."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Sam2HieraDetConfig
from transformers.models.sam2.modeling_sam2 import (
    Sam2HieraDetModel,
    Sam2MultiScaleAttention,
    Sam2PatchEmbeddings,
    do_pool,
)

from sa2va_cli.models.sa2va.config import SegmenterConfig
from sa2va_cli.models.sa2va.constants import made_once
from sa2va_cli.models.sa2va.pointwise import PointwiseConv

PATCH_STRIDE = 4  # pixels from one patch to the next


class FrameFeatures(NamedTuple):
    """The pyramid of T frames: strides 16, 8 and 4, all of width C."""

    coarse: Tensor  # (T, C, h, w)
    middle: Tensor  # (T, C, 2h, 2w)
    fine: Tensor  # (T, C, 4h, 4w)


class FeaturePyramid(nn.Module):
    """1x1 convolutions to one width, and a top-down path between the two coarsest levels only."""

    def __init__(self, backbone_channels: list[int], hidden_size: int) -> None:
        super().__init__()
        # Coarsest first, as the checkpoint numbers them.
        self.convs = nn.ModuleList(
            PointwiseConv(channels, hidden_size) for channels in backbone_channels[::-1]
        )

    def forward(self, stages: tuple[Tensor, ...]) -> FrameFeatures:
        """Backbone stages (T, h, w, D), fine to coarse -> the three levels that are used."""
        fine, middle, coarse, coarsest = (
            conv(stage.permute(0, 3, 1, 2))
            for stage, conv in zip(stages, reversed(self.convs), strict=True)
        )
        top_down = F.interpolate(coarsest.float(), scale_factor=2.0, mode="nearest")
        return FrameFeatures(coarse=coarse + top_down.to(coarse.dtype), middle=middle, fine=fine)


class WindowAttention(nn.Module):
    """Attention inside each window; where a stage begins, one query for four cells.

    transformers' module of this kind computes a second attention, over heads instead of cells,
    which nobody reads.
    """

    def __init__(self, like: Sam2MultiScaleAttention) -> None:
        super().__init__()
        self.num_heads = like.num_attention_heads
        self.query_stride = like.query_stride
        self.qkv, self.proj = like.qkv, like.proj

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(windows, h, w, C) -> (windows, h', w', C')."""
        _, height, width, _ = hidden_states.shape
        queries, keys, values = self.qkv(hidden_states).chunk(3, dim=-1)
        if self.query_stride:
            queries = do_pool(queries, self.query_stride)
            height, width = queries.shape[1:3]
        queries, keys, values = (self._by_head(part) for part in (queries, keys, values))
        output = F.scaled_dot_product_attention(queries, keys, values)
        return self.proj(output.transpose(1, 2).flatten(2).unflatten(1, (height, width)))

    def _by_head(self, states: Tensor) -> Tensor:
        """(windows, h, w, C) -> (windows, heads, h * w, C / heads)."""
        return states.flatten(1, 2).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class PatchEmbeddings(nn.Module):
    """Patches that lie in memory as all that follows works on them: channels last."""

    def __init__(self, like: Sam2PatchEmbeddings) -> None:
        super().__init__()
        self.projection = like.projection

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(T, 3, H, W) -> (T, h, w, D)."""
        patches = self.projection(pixel_values.to(self.projection.weight.dtype))
        return patches.permute(0, 2, 3, 1).contiguous()


class Backbone(Sam2HieraDetModel):
    """Hiera; what it adds to its patches for their places follows from weights and size alone."""

    kept_positions: Tensor | None

    def __init__(self, config: Sam2HieraDetConfig) -> None:
        super().__init__(config)
        own = cast(Sam2PatchEmbeddings, self.get_input_embeddings())
        self.patch_embed = PatchEmbeddings(own)
        self.register_buffer("kept_positions", None, persistent=False)

    def keep_positions(self, side: int) -> None:
        """Compute them once, for `side` x `side` patches of weights that do not change any more."""
        with torch.no_grad():
            self.kept_positions = self._get_pos_embed((side, side)).contiguous()

    def _get_pos_embed(self, hw: tuple[int, int]) -> Tensor:
        """(1, h, w, D)"""
        kept = self.kept_positions
        if kept is not None and kept.shape[1:3] == hw:
            return kept
        return super()._get_pos_embed(hw)


class ImageEncoder(nn.Module):
    """Pixels to features."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        channels = [config.embed_dim * 2**stage for stage in range(4)]
        self.backbone = Backbone(
            Sam2HieraDetConfig(
                hidden_size=config.embed_dim,
                num_attention_heads=config.num_heads,
                image_size=[config.image_size, config.image_size],
                window_positional_embedding_background_size=list(config.background_size),
                blocks_per_stage=list(config.stages),
                embed_dim_per_stage=channels,
                num_attention_heads_per_stage=[config.num_heads * 2**stage for stage in range(4)],
                window_size_per_stage=list(config.window_sizes),
                global_attention_blocks=list(config.global_attention_blocks),
            )
        )
        for block in self.backbone.blocks:
            block.attn = WindowAttention(block.attn)
        self.neck = FeaturePyramid(channels, config.hidden_size)

    def keep_positions(self) -> None:
        """See `Segmenter.settle`."""
        self.backbone.keep_positions(self.backbone.config.image_size[0] // PATCH_STRIDE)

    def forward(self, sam_pixel_values: Tensor) -> FrameFeatures:
        """(T, 3, size, size) -> FrameFeatures of T frames."""
        output = self.backbone(pixel_values=sam_pixel_values)
        return self.neck(output.intermediate_hidden_states)


@made_once
def sine_positions(side: int, dim: int, device: torch.device) -> Tensor:
    """(side * side, dim) float32: SAM 2's two-dimensional sine positions, rows then columns."""
    steps = torch.arange(1, side + 1, dtype=torch.float32, device=device)
    steps = steps / (side + 1e-6) * (2 * torch.pi)
    half = dim // 2
    wavelengths = torch.arange(half, device=device) // 2 * 2 / half
    angles = steps[:, None] / 10000**wavelengths  # (side, dim / 2)
    waves = torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=2).flatten(1)
    rows = waves[:, None].expand(side, side, half)
    columns = waves[None].expand(side, side, half)
    return torch.cat((rows, columns), dim=2).flatten(0, 1)
