"""Muon for the weight matrices, AdamW for everything else.

Muon: https://kellerjordan.github.io/posts/muon/, scaled to AdamW's step size as in
https://arxiv.org/abs/2502.16982. Ours turns all matrices of one shape at once, in float32: most
CPUs are slow in the bfloat16 that torch.optim.Muon computes in.
"""

from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
MUON_RATE, ADAM_RATE = 4e-3, 1.2e-3
WEIGHT_DECAY = 0.02
SMALLEST_SIDE = 16  # a matrix with a shorter side is a handful of vectors: AdamW's


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step; closures are not for us."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for parameters in by_shape.values():
                self._step_alike(parameters, group["lr"], group["momentum"])

    def _step_alike(self, parameters: list[nn.Parameter], lr: float, momentum: float) -> None:
        updates = []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum"] = torch.zeros_like(parameter)
            gradient = parameter.grad
            assert gradient is not None
            state["momentum"].lerp_(gradient, 1 - momentum)
            updates.append(gradient.lerp(state["momentum"], momentum))
        scale = 0.2 * max(parameters[0].shape) ** 0.5
        for parameter, update in zip(parameters, orthogonal(torch.stack(updates)), strict=True):
            parameter.mul_(1 - lr * WEIGHT_DECAY).sub_(update, alpha=lr * scale)


def orthogonal(matrices: Tensor) -> Tensor:
    """(B, m, n) -> the nearest orthogonal ones, roughly: five Newton-Schulz steps."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


class Optimisers:
    """Both, over groups of named parameters with their own share of the rate."""

    def __init__(self, groups: list[tuple[list[tuple[str, nn.Parameter]], float]]) -> None:
        matrices: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for named, share in groups:
            chosen = [p for name, p in named if _is_matrix(name, p)]
            ids = {id(p) for p in chosen}
            matrices.append({"params": chosen, "share": share})
            rest = [p for _, p in named if id(p) not in ids]
            others.append({"params": rest, "share": share})
        self.muon = Muon([group for group in matrices if group["params"]], lr=MUON_RATE)
        self.adam = torch.optim.AdamW(
            [group for group in others if group["params"]],
            lr=ADAM_RATE,
            weight_decay=WEIGHT_DECAY,
            betas=(0.9, 0.98),
        )
        self.parameters = [
            p
            for optimiser in (self.muon, self.adam)
            for group in optimiser.param_groups
            for p in group["params"]
        ]

    def zero_grad(self) -> None:
        self.muon.zero_grad()
        self.adam.zero_grad()

    def step(self, factor: float) -> None:
        """One step at `factor` of the full rates, gradients cut to norm 1."""
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimiser, rate in ((self.muon, MUON_RATE), (self.adam, ADAM_RATE)):
            for group in optimiser.param_groups:
                group["lr"] = rate * group["share"] * factor
            optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    return (
        parameter.ndim == 2
        and min(parameter.shape) >= SMALLEST_SIDE
        and not any(word in name for word in ("embed", "token", "lm_head", "heads."))
    )
