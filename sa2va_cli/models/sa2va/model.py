"""The five parts of Sa2VA in one module: two eyes, a language model, a bridge, a segmenter."""

import torch
from torch import Tensor, nn
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

from sa2va_cli.models.sa2va.config import Sa2vaConfig
from sa2va_cli.models.sa2va.language import build_language_model
from sa2va_cli.models.sa2va.reader import Reader
from sa2va_cli.models.sa2va.seg_bridge import SegBridge
from sa2va_cli.models.sa2va.segmenter import Segmenter
from sa2va_cli.models.sa2va.vision import Projector, build_vision_encoder, visual_tokens


class Sa2vaModel(nn.Module):
    """Networks only; what goes in and out as pictures and text is the predictor's business."""

    def __init__(self, config: Sa2vaConfig, attention: str = "sdpa") -> None:
        super().__init__()
        self.config = config
        self.vision_encoder = build_vision_encoder(config.vision, attention)
        self.projector = Projector(config.vision.projector_input_size, config.language.hidden_size)
        # Packed prompts need masks, which flash-attn has not; where nothing needs a mask, SDPA
        # runs a flash kernel of its own.
        plain = "eager" if attention == "eager" else "sdpa"
        self.language_model = build_language_model(config.language, plain)
        self.reader = Reader(self.language_model)
        self.seg_bridge = SegBridge(config.language.hidden_size, config.segmenter.hidden_size)
        self.segmenter = Segmenter(config.segmenter, two_decoders=config.two_decoders)

    def visual_tokens(self, pixel_values: Tensor) -> Tensor:
        """(tiles, 3, side, side) -> (tiles, tokens_per_tile, D)."""
        ratio = self.config.vision.downsample_ratio
        return visual_tokens(self.vision_encoder, self.projector, pixel_values, ratio)

    def settle(self) -> None:
        """Compute the same faster; to be called when the weights are there and stay as they are."""
        self.reader.settle()
        self.segmenter.settle()

    def restore_computed_buffers(self, device: torch.device) -> None:
        """Rotary frequencies are computed, not stored: make them where the weights went."""
        self.language_model.model.rotary_emb = Qwen2RotaryEmbedding(self.language_model.config).to(
            device
        )


def meta_model(config: Sa2vaConfig, attention: str = "sdpa") -> Sa2vaModel:
    """The model without memory for its weights."""
    with torch.device("meta"):
        return Sa2vaModel(config, attention).eval()
