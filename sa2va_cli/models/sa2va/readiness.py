"""What is done once to a model whose weights are there, so that it computes the same faster."""

import torch

from sa2va_cli.models.sa2va.compiling import compile_now
from sa2va_cli.models.sa2va.model import Sa2vaModel
from sa2va_cli.models.sa2va.recording import record_networks


def settle_model(model: Sa2vaModel, device: torch.device, *, compiled: bool) -> None:
    """Raises UsageError if it is to be compiled and the compiler does not do its work."""
    model.settle()
    if compiled:
        compile_now(model, device)
    elif device.type == "cuda":
        record_networks(model.segmenter.fixed_networks(), device)
