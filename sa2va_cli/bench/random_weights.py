"""A model of a published size without its weights: for measuring offline."""

import torch
from torch import Tensor

from sa2va_cli.bench.work import Work
from sa2va_cli.models.sa2va.checkpoint import Placement
from sa2va_cli.models.sa2va.config import Sa2vaConfig
from sa2va_cli.models.sa2va.hub import demo_folder
from sa2va_cli.models.sa2va.model import Sa2vaModel, meta_model
from sa2va_cli.models.sa2va.tokenizer import Tokenizer

SPREAD = 0.02  # standard deviation of weight matrices, as before training


def random_model(config: Sa2vaConfig, placement: Placement) -> Sa2vaModel:
    """All networks at full size; the same weights for the same config."""
    model = meta_model(config, placement.attention)
    device = placement.device
    generator = torch.Generator(device).manual_seed(0)
    weights: dict[str, Tensor] = {}
    for name, like in model.state_dict().items():
        weight = torch.empty(like.shape, dtype=placement.dtype_of(name), device=device)
        if weight.ndim > 1:
            weight.normal_(0.0, SPREAD, generator=generator)
        else:  # norms and scales are one, biases nothing
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
        weights[name] = weight
    model.load_state_dict(weights, assign=True)
    model.restore_computed_buffers(device)
    return model.requires_grad_(False)


def demo_tokenizer() -> Tokenizer:
    """The built-in model's: its ids exist in every published vocabulary, too."""
    return Tokenizer(demo_folder())


def forced_answer(work: Work, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Token ids of what weights without training are made to answer."""
    return tuple(tokenizer.encode(work.forced_text()))
