"""SAM 2's memory networks: what encodes a finished frame, and what reads the encoded frames."""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Sam2VideoConfig
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoMemoryEncoder

from sa2va_cli.models.sa2va.averaging import mean_by_cells, mean_by_keys, pays, turned
from sa2va_cli.models.sa2va.config import SegmenterConfig
from sa2va_cli.models.sa2va.image_encoder import sine_positions
from sa2va_cli.models.sa2va.rope import rope_table, rotate


def build_memory_encoder(config: SegmenterConfig) -> Sam2VideoMemoryEncoder:
    """Plain stride-16 features and full mask logits -> memory of width `memory_size`."""
    width = config.hidden_size
    return Sam2VideoMemoryEncoder(
        Sam2VideoConfig(
            memory_encoder_hidden_size=width,
            memory_encoder_output_channels=config.memory_size,
            mask_downsampler_embed_dim=width,
            memory_fuser_embed_dim=width,
            memory_fuser_intermediate_dim=4 * width,
        )
    )


class RopeAttention(nn.Module):
    """One-head attention with axial rotary positions on the queries and the spatial keys.

    transformers' module of this kind fixes the memory width at 64; ours takes it from the config.
    """

    def __init__(self, hidden_size: int, key_size: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.k_proj = nn.Linear(key_size, hidden_size)
        self.v_proj = nn.Linear(key_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, hidden_size)
        self.averages_first = False

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, table: Tensor, num_pointers: int = 0
    ) -> Tensor:
        """Queries (N, hw, C) or (1, hw, C), the same for all; keys and values (N, K, D), whose last
        `num_pointers` do not rotate."""
        if self.averages_first:
            return self.out_proj(
                self.v_proj(self._mean(queries, keys, values, table, num_pointers))
            )
        queries, keys = self.placed(queries, keys, table, num_pointers)
        output = F.scaled_dot_product_attention(
            queries[:, None], keys[:, None], self.v_proj(values)[:, None]
        )
        return self.out_proj(output[:, 0])

    def _mean(
        self, queries: Tensor, keys: Tensor, values: Tensor, table: Tensor, num_pointers: int
    ) -> Tensor:
        if pays(self.k_proj, table, keys.shape[1] - num_pointers):
            queries = self._placed_queries(queries, len(keys), table)
            project = turned(self.k_proj, table)
            return mean_by_cells(queries, keys, values, project, num_pointers)
        queries, keys = self.placed(queries, keys, table, num_pointers)
        return mean_by_keys(queries, keys, values)

    def placed(
        self, queries: Tensor, keys: Tensor, table: Tensor, num_pointers: int
    ) -> tuple[Tensor, Tensor]:
        """What is compared: queries (N, hw, C) and keys (N, K, C), rotated by where they are."""
        queries = self._placed_queries(queries, len(keys), table)
        keys = self.k_proj(keys)
        num_spatial = keys.shape[1] - num_pointers
        keys[:, :num_spatial] = rotate(keys[:, :num_spatial], table)
        return queries, keys

    def _placed_queries(self, queries: Tensor, objects: int, table: Tensor) -> Tensor:
        return rotate(self.q_proj(queries), table).expand(objects, -1, -1)


class MemoryAttentionLayer(nn.Module):
    """Self attention, attention to memories, and a two-layer network, each on normed input."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.self_attn = RopeAttention(width, width)
        self.cross_attn_image = RopeAttention(width, config.memory_size)
        self.linear1 = nn.Linear(width, config.memory_attention_ffn)
        self.linear2 = nn.Linear(config.memory_attention_ffn, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(
        self, states: Tensor, memory: Tensor, keys: Tensor, table: Tensor, num_pointers: int
    ) -> Tensor:
        normed = self.norm1(states)
        states = states + self.self_attn(normed, normed, normed, table)
        normed = self.norm2(states)
        states = states + self.cross_attn_image(normed, keys, memory, table, num_pointers)
        return states + self.linear2(F.relu(self.linear1(self.norm3(states))))


class MemoryAttention(nn.Module):
    """Makes a frame's features aware of where the objects were."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(config) for _ in range(config.memory_attention_layers)
        )
        self.norm = nn.LayerNorm(config.hidden_size)

    @property
    def averages_first(self) -> bool:
        """Whether memories are averaged before they are projected to values.

        Weights sum to one, so the result is the same; memories are a quarter as wide as values,
        which leaves less to multiply. On a processor that is faster than the fused kernel (not in
        float16, where it is slower and rounds more).
        """
        return all(layer.cross_attn_image.averages_first for layer in self._layers())

    @averages_first.setter
    def averages_first(self, wanted: bool) -> None:
        for layer in self._layers():
            layer.cross_attn_image.averages_first = wanted

    def _layers(self) -> list[MemoryAttentionLayer]:
        return cast(list[MemoryAttentionLayer], list(self.layers))

    def forward(
        self, coarse: Tensor, memory: Tensor, positions: Tensor, num_pointers: int
    ) -> Tensor:
        """Condition one frame on N objects' memories.

        Args:
            coarse: (1, C, h, w) stride-16 features.
            memory: (N, K, D) memory cells, the last `num_pointers` being pointer tokens.
            positions: (K, D) added to the memory where it serves as keys.

        Returns:
            (N, C, h, w).
        """
        _, channels, height, width = coarse.shape
        features = coarse.flatten(2).transpose(1, 2)  # (1, hw, C)
        where = sine_positions(height, channels, coarse.device).to(coarse.dtype)
        states = features + 0.1 * where  # the objects part where each reads its own memory
        keys = memory + positions
        table = rope_table(height, width, channels, coarse.device)
        for layer in self.layers:
            states = layer(states, memory, keys, table, num_pointers)
        return self.norm(states).transpose(1, 2).unflatten(2, (height, width))
