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
class Sequel:
    """Tokens that come behind what was read before of one picture."""

    positions: Tensor  # (T,) of each token in its own sequence
    mask: Tensor | None  # (T, cells + T) True where seen; None: all before, and nothing cached
    cells: KeyValues  # what was read before
    silent: bool = False  # nobody wants its states, only what comes later looks back at it

    def __len__(self) -> int:
        return len(self.positions)

    def adding(self, dtype: torch.dtype) -> "Sequel":
        """With the mask that attention adds: it would make that of the other in every layer."""
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

    def forward(self, embeddings: Tensor, *sequels: Sequel) -> Tensor:
        """Final, normed states (T, D) of T tokens, (T, D) too, which the sequels share in order.

        Sequels of several pictures go through the weights together, and see nothing of each other.
        The cells of each grow when all is done. If all are silent, there are no states (0, D), and
        the last layer is left when it has keys and values.
        """
        for sequel in sequels:
            sequel.cells.make_room(len(sequel))
        sequels = tuple(sequel.adding(embeddings.dtype) for sequel in sequels)
        turns = self._turns(embeddings, sequels)
        model = self.language_model.model
        states = embeddings
        silent = all(sequel.silent for sequel in sequels)
        for index, layer in enumerate(model.layers):
            normed = layer.input_layernorm(states)
            if silent and index == len(model.layers) - 1:
                remember(layer.self_attn, normed, turns, sequels, index)
                states = states[:0]
                break
            states = states + attend(layer.self_attn, normed, turns, sequels, index)
            states = states + layer.mlp(layer.post_attention_layernorm(states))
        for sequel in sequels:  # in the end: a pass that is broken off leaves no trace
            sequel.cells.length += len(sequel)
        return model.norm(states)

    def _turns(self, embeddings: Tensor, sequels: Sequence[Sequel]) -> tuple[Tensor, Tensor]:
        """(T, 1, head_dim) each. For each sequel by itself: "dynamic" positions depend on how far
        it goes."""
        rotary = self.language_model.model.rotary_emb
        pairs = [rotary(embeddings, sequel.positions[None]) for sequel in sequels]
        cosines, sines = (torch.cat(part, dim=1)[0, :, None] for part in zip(*pairs, strict=True))
        half = sines.shape[-1] // 2
        sines[..., :half].neg_()
        return cosines, sines


def attend(
    network: Qwen2Attention,
    states: Tensor,
    turns: tuple[Tensor, Tensor],
    sequels: Sequence[Sequel],
    layer: int,
) -> Tensor:
    """(T, D) -> (T, D); new keys and values go into the cells of this layer."""
    remember(network, states, turns, sequels, layer)
    queries = turn(network.q_proj(states).unflatten(1, (-1, network.head_dim)), turns)  # (T, H, d)
    if len(sequels) == 1:
        seen = look_back(queries, sequels[0], layer)
    else:
        parts = queries.split([len(sequel) for sequel in sequels])
        seen = torch.cat([look_back(*part, layer) for part in zip(parts, sequels, strict=True)])
    return network.o_proj(seen)


def remember(
    network: Qwen2Attention,
    states: Tensor,
    turns: tuple[Tensor, Tensor],
    sequels: Sequence[Sequel],
    layer: int,
) -> None:
    """Keys and values of (T, D) go behind those of each sequel."""
    keys = turn(network.k_proj(states).unflatten(1, (-1, network.head_dim)), turns)  # (T, H', d)
    values = network.v_proj(states).unflatten(1, (-1, network.head_dim))
    first = 0
    for sequel in sequels:
        own = slice(first, first + len(sequel))
        cells, start = sequel.cells.store[layer], sequel.cells.length
        cells[0, :, start : start + len(sequel)] = keys[own].transpose(0, 1)
        cells[1, :, start : start + len(sequel)] = values[own].transpose(0, 1)
        first = own.stop


def look_back(queries: Tensor, sequel: Sequel, layer: int) -> Tensor:
    """One sequel's queries (T, H, d) at what it may see, itself included -> (T, D)."""
    cells, mask = sequel.cells.store[layer], sequel.mask
    stop = sequel.cells.length + len(queries)
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
