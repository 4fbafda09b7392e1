"""The language model's pass: what transformers' Qwen2 computes, without what it does around that.

Networks so small that a pass takes milliseconds spend a third of them on transformers' choices
between caches, masks and attention functions; here there is one of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention

from sa2va_cli.models.sa2va.device import to_device
from sa2va_cli.models.sa2va.key_values import KeyValues


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens that come behind what was read before of one picture."""

    positions: Tensor  # (T,) of each token in its own sequence
    mask: Tensor | None  # (T, cells + T) True where seen; None: all before, and nothing cached
    cells: KeyValues  # what was read before
    cache_only: bool = False  # nobody wants its states: only its keys and values

    def __len__(self) -> int:
        return len(self.positions)

    def with_additive_mask(self, dtype: torch.dtype) -> "Chunk":
        """With what attention would make of its mask in every layer anew."""
        if self.mask is None:
            return self
        mask = torch.zeros_like(self.mask, dtype=dtype).masked_fill_(~self.mask, -torch.inf)
        return replace(self, mask=mask)


class Reader(nn.Module):
    """Reads tokens behind those read before. It has no weights but those of the language model."""

    def __init__(self, language_model: Qwen2ForCausalLM) -> None:
        super().__init__()
        self._shared = (language_model,)  # in a tuple: whose weights they are is told once

    @property
    def language_model(self) -> Qwen2ForCausalLM:
        return self._shared[0]

    def new_cells(self) -> KeyValues:
        """Nothing is read yet."""
        return KeyValues(self.language_model.config, self.language_model.lm_head.weight)

    def embed(self, ids: tuple[int, ...]) -> Tensor:
        """Ids of words -> (T, D)."""
        table = self.language_model.model.embed_tokens
        return table(to_device(torch.tensor(ids, dtype=torch.long), table.weight.device))

    def forward(self, embeddings: Tensor, *chunks: Chunk) -> Tensor:
        """Final, normed states (T, D) of T tokens, (T, D) too, which the chunks share in order.

        Chunks of several pictures go through the weights together, and see nothing of each other.
        The cells of each grow when all is done. If all are `cache_only`, there are no states
        (0, D), and the last layer is left when it has keys and values.
        """
        for chunk in chunks:
            chunk.cells.make_room(len(chunk))
        chunks = tuple(chunk.with_additive_mask(embeddings.dtype) for chunk in chunks)
        turns = self._turns(embeddings, chunks)
        model = self.language_model.model
        states = embeddings
        cache_only = all(chunk.cache_only for chunk in chunks)
        for index, layer in enumerate(model.layers):
            normed = layer.input_layernorm(states)
            if cache_only and index == len(model.layers) - 1:
                cache_keys_and_values(layer.self_attn, normed, turns, chunks, index)
                states = states[:0]
                break
            states = states + attend(layer.self_attn, normed, turns, chunks, index)
            states = states + layer.mlp(layer.post_attention_layernorm(states))
        for chunk in chunks:  # in the end: a pass that is broken off leaves no trace
            chunk.cells.length += len(chunk)
        return model.norm(states)

    def _turns(self, embeddings: Tensor, chunks: Sequence[Chunk]) -> tuple[Tensor, Tensor]:
        """(T, 1, head_dim) each. For each chunk by itself: "dynamic" positions depend on how far
        it goes."""
        rotary = self.language_model.model.rotary_emb
        pairs = [rotary(embeddings, chunk.positions[None]) for chunk in chunks]
        cosines, sines = (torch.cat(part, dim=1)[0, :, None] for part in zip(*pairs, strict=True))
        half = sines.shape[-1] // 2
        sines[..., :half].neg_()
        return cosines, sines


def attend(
    network: Qwen2Attention,
    states: Tensor,
    turns: tuple[Tensor, Tensor],
    chunks: Sequence[Chunk],
    layer: int,
) -> Tensor:
    """(T, D) -> (T, D); new keys and values go into the cells of this layer."""
    cache_keys_and_values(network, states, turns, chunks, layer)
    queries = turn(network.q_proj(states).unflatten(1, (-1, network.head_dim)), turns)  # (T, H, d)
    parts = zip(queries.split([len(chunk) for chunk in chunks]), chunks, strict=True)
    return network.o_proj(torch.cat([attend_to_cache(*part, layer) for part in parts]))


def cache_keys_and_values(
    network: Qwen2Attention,
    states: Tensor,
    turns: tuple[Tensor, Tensor],
    chunks: Sequence[Chunk],
    layer: int,
) -> None:
    """Keys and values of (T, D) go behind those of each chunk."""
    keys = turn(network.k_proj(states).unflatten(1, (-1, network.head_dim)), turns)  # (T, H', d)
    values = network.v_proj(states).unflatten(1, (-1, network.head_dim))
    lengths = [len(chunk) for chunk in chunks]
    for chunk, own_keys, own_values in zip(
        chunks, keys.split(lengths), values.split(lengths), strict=True
    ):
        start = chunk.cells.length
        cells = chunk.cells.store[layer, :, :, start : start + len(chunk)]
        cells[0], cells[1] = own_keys.transpose(0, 1), own_values.transpose(0, 1)


def attend_to_cache(queries: Tensor, chunk: Chunk, layer: int) -> Tensor:
    """One chunk's queries (T, H, d) at what it may see, itself included -> (T, D)."""
    cells, mask = chunk.cells.store[layer], chunk.mask
    stop = chunk.cells.length + len(queries)
    # Several heads of queries look at one of keys: as a group, so that nothing is copied.
    groups = queries.unflatten(1, (cells.shape[1], -1)).permute(1, 2, 0, 3)  # (H', H / H', T, d)
    seen = cells[:, :, None, :stop].expand(-1, -1, groups.shape[1], -1, -1)
    output = F.scaled_dot_product_attention(
        groups, seen[0], seen[1], attn_mask=mask, is_causal=mask is None
    )
    return output.permute(2, 0, 1, 3).flatten(1)


def turn(states: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions: (T, heads, head_dim), the first half of each head against the second."""
    cosines, sines = turns
    return states * cosines + states.roll(states.shape[-1] // 2, dims=-1) * sines
