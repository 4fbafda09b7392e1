"""The model together with what teaches it, and what a stage of training is."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sa2va_cli.demo.heads import Heads
from sa2va_cli.models.sa2va.model import Sa2vaModel

NamedParameters = list[tuple[str, nn.Parameter]]
Measures = dict[str, list[float]]
VIDEO_ONLY = ("memory_", "pointer_projection", "no_object_pointer")


class Learner(nn.Module):
    """The model and the heads that teach it."""

    def __init__(self, model: Sa2vaModel) -> None:
        super().__init__()
        config = model.config
        self.model = model
        self.has_teacher = False  # the stand-in for the language model has learnt its part
        with torch.random.fork_rng():
            torch.manual_seed(1)  # the same in every training process
            self.heads = Heads(
                config.vision.hidden_size, config.language.hidden_size, config.segmenter.hidden_size
            )


class Stage(Protocol):
    """One stage. `prepare` may run in another process, so it holds no network."""

    name: str
    pictures: int  # seen by the whole stage
    batch: int  # pictures a step and worker
    coolest: float  # the part of the full rate that is left at the end

    def prepare(self, seeds: Sequence[int]) -> Any: ...

    def groups(self, learner: Learner) -> list[tuple[NamedParameters, float]]: ...

    def loss(self, learner: Learner, batch: Any) -> tuple[Tensor, Measures]: ...


def parameters_of(
    module: nn.Module, skip: Callable[[str], bool] = lambda _: False
) -> NamedParameters:
    return [(name, p) for name, p in module.named_parameters() if not skip(name)]


def is_video_only(name: str) -> bool:
    """Weights of the segmenter that a single picture never reaches."""
    return name.startswith(VIDEO_ONLY)
