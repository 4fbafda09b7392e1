"""torch.compile for the networks whose inputs always have the same shape.

What was compiled is kept on disk, so that only the first start with a model takes long. The
language model is left out: its key-value cache grows with every token.
"""

import os

import torch
from PIL import Image
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.compiler import cache_folder
from sa2va_cli.models.sa2va.device import to_device
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.model import Sa2vaModel
from sa2va_cli.models.sa2va.preprocess import (
    normalise_sam,
    normalise_tiles,
    sam_square,
    tile_squares,
)
from sa2va_cli.models.sa2va.segmenter import DecodedMasks, Segmenter
from sa2va_cli.models.sa2va.tracker import Tracker
from sa2va_cli.models.sa2va.video import as_given_masks

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"  # torch's own
SEVERAL = (1, 3)  # with the second number torch compiles for any


def compile_now(model: Sa2vaModel, device: torch.device) -> None:
    """Compile, or find on disk, all that `compile_networks` names.

    Raises UsageError if the compiler does not do its work.
    """
    compile_networks(model)
    try:
        warm_up(model, device)
    except TorchDynamoException as error:
        reason = str(error).strip().partition("\n\n")[0]  # behind it is how to debug torch
        raise UsageError(
            f"--compile failed: {' '.join(reason.split())}",
            hint="try another compiler (CXX), install Python's headers (apt install python3-dev), "
            "or leave --compile out",
        ) from error


def compile_networks(model: Sa2vaModel) -> None:
    """From their next call on, the fixed-shape networks run compiled."""
    os.environ.setdefault(CACHE_VARIABLE, str(cache_folder()))
    for network in fixed_networks(model):
        # The method, not the module: whoever measures hooks into the module's call.
        network.forward = torch.compile(network.forward)  # type: ignore[method-assign]


def fixed_networks(model: Sa2vaModel) -> list[nn.Module]:
    return [model.vision_encoder, *model.segmenter.fixed_networks()]


@torch.inference_mode()
def warm_up(model: Sa2vaModel, device: torch.device) -> None:
    """Compile now, on blank pictures, rather than at the first item.

    They come by the way of all pictures: what is compiled holds for one layout in memory only.
    """
    seen, drawn = model.vision_encoder.dtype, model.language_model.dtype
    blank = Image.new("RGB", (model.config.vision.image_size,) * 2)
    for tiles in SEVERAL:
        squares = to_device(tile_squares([blank] * tiles), device)
        model.visual_tokens(normalise_tiles(squares).to(seen))
    square = sam_square(blank, model.config.segmenter.image_size)[None]
    features, _ = (
        model.segmenter.encode(normalise_sam(to_device(squares, device), drawn, video=False))
        for squares in (square, torch.cat([square] * SEVERAL[-1]))  # of one, as it lies in memory
    )
    for objects in SEVERAL:
        _follow(model.segmenter, features, objects)


def _follow(segmenter: Segmenter, features: FrameFeatures, objects: int) -> None:
    """Every decoder once, and memory."""
    side, width = segmenter.config.image_size, segmenter.config.hidden_size
    prompts = torch.zeros(objects, 1, width, device=features.coarse.device)
    decoded = segmenter.decode_prompts(features, prompts)
    _track(Tracker(segmenter), features, decoded)
    if segmenter.tracking_decoder is not None:
        given = as_given_masks(segmenter, decoded, features, (side, side))
        _track(Tracker(segmenter, original=True), features, given)


def _track(tracker: Tracker, features: FrameFeatures, decoded: DecodedMasks) -> None:
    tracker.condition(0, features, decoded)
    tracker.track_frame(1, features)
