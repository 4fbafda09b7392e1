"""What the language model sees: InternViT, pixel shuffle, and the projector to its width."""

import torch
from torch import Tensor, nn
from transformers import InternVLVisionConfig, InternVLVisionModel
from transformers.models.internvl.modeling_internvl import InternVLVisionLayer

from sa2va_cli.models.sa2va.config import VisionConfig


def build_vision_encoder(config: VisionConfig, attention: str) -> InternVLVisionModel:
    """InternViT; its last layer's output is used, without a final norm."""
    tower = InternVLVisionModel(
        InternVLVisionConfig(
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            attention_bias=config.qkv_bias,
            use_qk_norm=config.qk_normalization,
            intermediate_size=config.intermediate_size,
            norm_type=config.norm_type,
            layer_norm_eps=config.layer_norm_eps,
            image_size=config.image_size,
            patch_size=config.patch_size,
            attn_implementation=attention,
        )
    )
    tower.encoder.layer = nn.ModuleList(TowerLayer(layer) for layer in tower.encoder.layer)
    return tower


class TowerLayer(nn.Module):
    """transformers' layer, which scales and adds what is new in one step."""

    def __init__(self, like: InternVLVisionLayer) -> None:
        super().__init__()
        self.attention, self.mlp = like.attention, like.mlp
        self.layernorm_before, self.layernorm_after = like.layernorm_before, like.layernorm_after
        self.lambda_1, self.lambda_2 = like.lambda_1, like.lambda_2

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(tiles, T, D) -> (tiles, T, D)"""
        attended, _ = self.attention(self.layernorm_before(hidden_states))
        hidden_states = torch.addcmul(hidden_states, attended, self.lambda_1)
        new = self.mlp(self.layernorm_after(hidden_states))
        return torch.addcmul(hidden_states, new, self.lambda_2)


def pixel_shuffle(features: Tensor, ratio: float) -> Tensor:
    """Trade grid cells for channels ("v2" of the reference).

    (B, h, w, D) -> (B, h * ratio, w * ratio, D / ratio²); a new cell's channels are those of its
    old cells, row by row.
    """
    batch, height, width, dim = features.shape
    step = round(1 / ratio)
    blocks = features.reshape(batch, height // step, step, width // step, step, dim)
    blocks = blocks.permute(0, 1, 3, 2, 4, 5)  # (B, h', w', row, column, D)
    return blocks.reshape(batch, height // step, width // step, dim * step * step)


class Projector(nn.Module):
    """Shuffled patches to the language model's width."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(input_size),
            nn.Linear(input_size, hidden_size),
            nn.GELU(),
            nn.Linear(hidden_size, hidden_size),
        )

    def forward(self, patches: Tensor) -> Tensor:
        return self.layers(patches)


def visual_tokens(
    vision_encoder: InternVLVisionModel, projector: Projector, pixel_values: Tensor, ratio: float
) -> Tensor:
    """(tiles, 3, side, side) -> (tiles, tokens_per_tile, D)."""
    states = vision_encoder(pixel_values=pixel_values).last_hidden_state
    patches = states[:, 1:]  # (tiles, h * w, D'): without the class token
    side = round(patches.shape[1] ** 0.5)
    grid = pixel_shuffle(patches.unflatten(1, (side, side)), ratio)
    return projector(torch.flatten(grid, 1, 2).to(next(projector.parameters()).dtype))
