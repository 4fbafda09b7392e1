"""Tensors that follow from sizes alone: made once, not for every frame."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, cast

import torch
from torch import Tensor

KEPT = 16  # of each kind: a model has one or two sizes

P = ParamSpec("P")


def made_once(make: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Whoever asks for the same again gets the same tensor, and must leave it as it is."""

    @wraps(make)
    def for_all(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():  # training may use it, too
            return make(*args, **kwargs)

    return cast(Callable[P, Tensor], lru_cache(maxsize=KEPT)(for_all))
