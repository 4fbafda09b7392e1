"""The language model's pass: what transformers' Qwen2 computes, in as few steps as possible.

A pass over few tokens takes as long as it takes to tell the device what to do, or Python to get
around: here there is one kind of cache, mask and attention, and fifteen operations a layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right
from transformers import Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer, Qwen2RMSNorm

from sa2va_cli.models.sa2va.device import to_device
from sa2va_cli.models.sa2va.joined import Joined
from sa2va_cli.models.sa2va.key_values import KeyValues

Turns = tuple[Tensor, Tensor]  # cosines and sines of rotary positions, (T, 1, head_dim) each


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens that come behind what was read before of one picture."""

    positions: Tensor  # (T,) of each token in its own sequence
    mask: Tensor | None  # (T, cells + T) True where seen; None: each token sees all before it
    cells: KeyValues  # what was read before
    cache_only: bool = False  # nobody wants its states: only its keys and values

    def __len__(self) -> int:
        return len(self.positions)

    def with_bias(self, dtype: torch.dtype) -> "Chunk":
        """With what attention adds to its logits as its mask, made once for all layers."""
        new, seen = len(self), self.cells.length + len(self)
        if self.mask is not None:
            return replace(self, mask=_additive(self.mask, dtype))
        if new in (1, seen):
            return self
        if self.positions.is_cuda:  # GPUs have a kernel for it
            return replace(self, mask=causal_lower_right(new, seen))
        triangle = torch.ones(new, seen, dtype=torch.bool).tril(seen - new)
        return replace(self, mask=_additive(triangle, dtype))


class Reader(nn.Module):
    """Reads tokens behind those read before. It has no weights but those of the language model."""

    def __init__(self, language_model: Qwen2ForCausalLM) -> None:
        super().__init__()
        # In tuples: whose weights they are is told once.
        self._shared = (language_model,)
        self._layers = tuple(Layer(layer) for layer in language_model.model.layers)

    @property
    def language_model(self) -> Qwen2ForCausalLM:
        return self._shared[0]

    def settle(self) -> None:
        """Compute the same faster; to be called when the weights are there and stay as they are."""
        for layer in self._layers:
            layer.settle()

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
        chunks = tuple(chunk.with_bias(embeddings.dtype) for chunk in chunks)
        turns = self._turns(embeddings, chunks)
        states = embeddings
        cache_only = all(chunk.cache_only for chunk in chunks)
        for index, layer in enumerate(self._layers):
            if cache_only and index == len(self._layers) - 1:
                layer.cache(states, turns, chunks, index)
                states = states[:0]
                break
            states = layer(states, turns, chunks, index)
        for chunk in chunks:  # in the end: a pass that is broken off leaves no trace
            chunk.cells.length += len(chunk)
        return normed(states, self.language_model.model.norm)

    def _turns(self, embeddings: Tensor, chunks: Sequence[Chunk]) -> Turns:
        """The sines with the sign that `turn_in_place` needs."""
        rotary = self.language_model.model.rotary_emb
        longest = max(chunk.cells.length + len(chunk) for chunk in chunks)
        if rotary.rope_type != "dynamic" or longest <= rotary.original_max_seq_len:
            # As trained. transformers would ask the positions, and wait for a GPU to tell them.
            positions = torch.cat([chunk.positions for chunk in chunks])
            angles = positions[:, None].float() * rotary.original_inv_freq.float()
            cosines, sines = (
                torch.cat((part, part), dim=1) * rotary.attention_scaling
                for part in (angles.cos(), angles.sin())
            )
        else:  # for each chunk by itself: its angles depend on how far it goes
            pairs = []
            for chunk in chunks:
                # Not on how far others went before.
                rotary.inv_freq = rotary.original_inv_freq
                rotary.max_seq_len_cached = rotary.original_max_seq_len
                pairs.append(rotary(embeddings, chunk.positions[None]))
            cosines, sines = (torch.cat(part, dim=1)[0] for part in zip(*pairs, strict=True))
        sines[:, : sines.shape[1] // 2].neg_()
        return cosines[:, None].to(embeddings.dtype), sines[:, None].to(embeddings.dtype)


class Layer:
    """One layer of the language model: attention, then a network of two layers."""

    def __init__(self, network: Qwen2DecoderLayer) -> None:
        self._network = network
        attention = network.self_attn
        self._head_dim = attention.head_dim
        self._attention_inputs = Joined(attention.q_proj, attention.k_proj, attention.v_proj)
        # Of the last layer only, and there once a picture: not worth being merged.
        self._cache_inputs = Joined(attention.k_proj, attention.v_proj)

    def settle(self) -> None:
        """See `Reader.settle`."""
        self._attention_inputs.merge()

    def __call__(self, states: Tensor, turns: Turns, chunks: Sequence[Chunk], index: int) -> Tensor:
        """(T, D) -> (T, D); new keys and values go into the cells of layer `index`."""
        network = self._network
        heads = self._heads(self._attention_inputs, states)  # (T, H + 2 H', d)
        keys = chunks[0].cells.heads
        turn_in_place(heads[:, :-keys], turns)
        write(heads[:, -2 * keys :], chunks, index)
        parts = heads[:, : -2 * keys].split([len(chunk) for chunk in chunks])
        seen = [look(queries, chunk, index) for queries, chunk in zip(parts, chunks, strict=True)]
        attended = seen[0] if len(seen) == 1 else torch.cat(seen)
        states = torch.addmm(states, attended, network.self_attn.o_proj.weight.T)
        # Not joined: a half of each row is read more slowly than all of it.
        read = normed(states, network.post_attention_layernorm)
        gated = F.silu(network.mlp.gate_proj(read)).mul_(network.mlp.up_proj(read))
        return torch.addmm(states, gated, network.mlp.down_proj.weight.T)

    def cache(self, states: Tensor, turns: Turns, chunks: Sequence[Chunk], index: int) -> None:
        """Nothing but the new keys and values."""
        heads = self._heads(self._cache_inputs, states)  # (T, 2 H', d)
        turn_in_place(heads[:, : chunks[0].cells.heads], turns)
        write(heads, chunks, index)

    def _heads(self, inputs: Joined, states: Tensor) -> Tensor:
        projected = inputs(normed(states, self._network.input_layernorm))
        return projected.unflatten(1, (-1, self._head_dim))


def normed(states: Tensor, norm: Qwen2RMSNorm) -> Tensor:
    """(T, D) -> (T, D)"""
    return F.rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)


def write(new: Tensor, chunks: Sequence[Chunk], layer: int) -> None:
    """Keys and values (T, 2 H', d), keys first, go behind those of each chunk."""
    for chunk, own in zip(chunks, new.split([len(chunk) for chunk in chunks]), strict=True):
        start = chunk.cells.length
        cells = chunk.cells.store[layer, :, :, start : start + len(chunk)]  # (2, H', T, d)
        cells.copy_(own.unflatten(1, cells.shape[:2]).permute(1, 2, 0, 3))


def look(queries: Tensor, chunk: Chunk, layer: int) -> Tensor:
    """One chunk's queries (T, H, d) at what it may see, itself included -> (T, D)."""
    cells = chunk.cells.store[layer]
    stop = chunk.cells.length + len(queries)
    # Several heads of queries look at one of keys: as a group, so that nothing is copied.
    groups = queries.unflatten(1, (chunk.cells.heads, -1)).permute(1, 2, 0, 3)  # (H', H/H', T, d)
    seen = cells[:, :, None, :stop].expand(-1, -1, groups.shape[1], -1, -1)
    causal = chunk.mask is None and len(queries) > 1
    output = F.scaled_dot_product_attention(
        groups, seen[0], seen[1], attn_mask=chunk.mask, is_causal=causal
    )
    return output.permute(2, 0, 1, 3).flatten(1)


def turn_in_place(states: Tensor, turns: Turns) -> None:
    """Rotary positions: (T, heads, head_dim), the first half of each head against the second."""
    cosines, sines = turns
    swapped = states.roll(states.shape[-1] // 2, dims=-1)
    states.mul_(cosines).addcmul_(swapped, sines)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Nothing where seen, else minus infinity."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf)
