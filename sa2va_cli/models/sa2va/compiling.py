"""torch.compile for the networks whose inputs always have the same shape.

What was compiled is kept on disk, so that only the first start with a model takes long. The
language model is left out: its key-value cache grows with every token.
"""

import os

import torch
from torch import nn

from sa2va_cli.models.sa2va.compiler import cache_folder
from sa2va_cli.models.sa2va.model import Sa2vaModel

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # torch's own


def compile_networks(model: Sa2vaModel) -> None:
    """From their next call on, the fixed-shape networks run compiled."""
    os.environ.setdefault(CACHE_VARIABLE, str(cache_folder()))
    for network in fixed_networks(model):
        # The method, not the module: whoever measures hooks into the module's call.
        network.forward = torch.compile(network.forward)  # type: ignore[method-assign]


def fixed_networks(model: Sa2vaModel) -> list[nn.Module]:
    segmenter = model.segmenter
    networks = [model.vision_encoder, segmenter.image_encoder, segmenter.mask_decoder]
    if segmenter.tracking_decoder is not None:
        networks.append(segmenter.tracking_decoder)
    return [*networks, segmenter.memory_encoder]


def warm_up(model: Sa2vaModel, device: torch.device) -> None:
    """Compile now, on blank pictures, rather than at the first item."""
    seen, drawn = model.vision_encoder.dtype, model.language_model.dtype
    tile, side = model.config.vision.image_size, model.config.segmenter.image_size
    width = model.config.segmenter.hidden_size
    with torch.inference_mode():
        for tiles in (1, 3):  # with the second number torch compiles for any
            model.visual_tokens(torch.zeros(tiles, 3, tile, tile, device=device, dtype=seen))
        features = model.segmenter.encode(torch.zeros(1, 3, side, side, device=device, dtype=drawn))
        for objects in (1, 3):
            model.segmenter.decode_prompts(features, torch.zeros(objects, 1, width, device=device))
