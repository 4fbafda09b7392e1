"""Linear layers that read the same input, as one: fewer and larger products."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Joined:
    """What several linear layers make of one input, side by side.

    It has no weights of its own: once merged, those of the layers are parts of one matrix.
    """

    def __init__(self, *layers: nn.Module) -> None:
        """All with a bias, or none."""
        self._layers = cast(tuple[nn.Linear, ...], layers)
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None

    def merge(self) -> None:
        """To be called when the weights are there, and stay where they are."""
        self._weight = self._side_by_side("weight")
        if self._layers[0].bias is not None:
            self._bias = self._side_by_side("bias")

    def __call__(self, states: Tensor) -> Tensor:
        """(T, D) -> (T, the widths of all)."""
        if self._weight is None:
            return torch.cat([layer(states) for layer in self._layers], dim=-1)
        return F.linear(states, self._weight, self._bias)

    def _side_by_side(self, name: str) -> Tensor:
        weights = [cast(Tensor, getattr(layer, name)) for layer in self._layers]
        whole = torch.cat([weight.detach() for weight in weights])
        parts = whole.split([len(weight) for weight in weights])
        for layer, part in zip(self._layers, parts, strict=True):
            setattr(layer, name, nn.Parameter(part, requires_grad=False))
        return whole
