"""The language model's pass: what transformers' Qwen2 computes, without what it does around that.

Networks so small that a pass takes milliseconds spend a third of them on transformers' choices
between caches, masks and attention functions; here there is one of each.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention

from sa2va_cli.models.sa2va.key_values import KeyValues


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
        return table(torch.tensor(ids, dtype=torch.long, device=table.weight.device))

    def forward(
        self, embeddings: Tensor, positions: Tensor, mask: Tensor | None, cells: KeyValues
    ) -> Tensor:
        """Final, normed states (T, D) of T tokens; `cells` grow by T when all is done.

        Args:
            embeddings: (T, D).
            positions: (T,) of each token in its own sequence.
            mask: (T, cells + T) bool, True where seen; None: all before, and nothing cached.
            cells: what was read before.
        """
        cells.make_room(len(embeddings))
        cosines, sines = self.language_model.model.rotary_emb(embeddings, positions[None])
        half = sines.shape[-1] // 2
        sines[..., :half].neg_()
        turns = cosines[0, :, None], sines[0, :, None]  # (T, 1, head_dim) each
        states = self.through_layers(embeddings, turns, mask, cells.store, cells.length)
        cells.length += len(embeddings)  # in the end: a pass that is broken off leaves no trace
        return states

    def through_layers(
        self,
        states: Tensor,
        turns: tuple[Tensor, Tensor],
        mask: Tensor | None,
        store: Tensor,
        start: int,
    ) -> Tensor:
        """All that is the same for any length, and can be compiled."""
        model = self.language_model.model
        for layer, cells in zip(model.layers, store, strict=True):
            normed = layer.input_layernorm(states)
            states = states + attend(layer.self_attn, normed, turns, mask, cells, start)
            states = states + layer.mlp(layer.post_attention_layernorm(states))
        return model.norm(states)


def attend(  # noqa: PLR0913  what attention is about
    network: Qwen2Attention,
    states: Tensor,
    turns: tuple[Tensor, Tensor],
    mask: Tensor | None,
    cells: Tensor,
    start: int,
) -> Tensor:
    """(T, D) -> (T, D); the new keys and values go into `cells` (2, heads, capacity, head_dim)."""
    stop = start + len(states)
    by_head = (len(states), -1, network.head_dim)
    queries = turn(network.q_proj(states).view(by_head), turns)  # (T, H, d)
    keys = turn(network.k_proj(states).view(by_head), turns)  # (T, H', d)
    values = network.v_proj(states).view(by_head)
    cells[0, :, start:stop] = keys.transpose(0, 1)
    cells[1, :, start:stop] = values.transpose(0, 1)
    # Several heads of queries look at one of keys: as a group, so that nothing is copied.
    groups = queries.unflatten(1, (keys.shape[1], -1)).permute(1, 2, 0, 3)  # (H', H / H', T, d)
    seen = cells[:, :, None, :stop].expand(-1, -1, groups.shape[1], -1, -1)
    output = F.scaled_dot_product_attention(
        groups, seen[0], seen[1], attn_mask=mask, is_causal=mask is None
    )
    return network.o_proj(output.permute(2, 0, 1, 3).flatten(1))


def turn(states: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions: (T, heads, head_dim), the first half of each head against the second."""
    cosines, sines = turns
    return states * cosines + states.roll(states.shape[-1] // 2, dims=-1) * sines
