"""The floor: floating-point operations and bytes of each stage, from the config alone.

Networks of a fixed shape are run on torch's meta device, where nothing is computed, under its own
counter; what the language model does is a formula of two lines.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sa2va_cli.models.sa2va.config import Sa2vaConfig
from sa2va_cli.models.sa2va.model import meta_model


class Arithmetic:
    """Operations (a multiplication and an addition are two) of one model's stages."""

    def __init__(self, config: Sa2vaConfig) -> None:
        self._config = config
        self._model = meta_model(config, "eager")  # its attention is counted as two products
        self._counted: dict[tuple[int, int, int, bool], float] = {}  # attention to memories

    @cached_property
    def tile(self) -> float:
        """The vision tower, for each tile."""
        side = self._config.vision.image_size
        return self._count(
            lambda: self._model.vision_encoder(pixel_values=_empty(1, 3, side, side))
        )

    @cached_property
    def visual_token(self) -> float:
        """The projector, for each visual token."""
        size = self._config.vision.projector_input_size
        return self._count(lambda: self._model.projector(_empty(1, size)))

    def language(self, tokens: int, cached: int, cache_only: bool = False) -> float:
        """The language model without its head; each token sees all before it.

        `cache_only`: of the last layer only keys and values are wanted.
        """
        config = self._config.language
        layers = self._model.language_model.model.layers
        pairs = tokens * cached + tokens * (tokens + 1) / 2
        attention = 4 * pairs * config.hidden_size * (config.num_layers - cache_only)
        weights = _num_weights(layers)
        if cache_only:
            last = layers[-1]
            weights -= _num_weights(last)
            weights += _num_weights(last.self_attn.k_proj) + _num_weights(last.self_attn.v_proj)
        return 2 * tokens * weights + attention

    def head(self, tokens: int) -> float:
        return 2.0 * tokens * _num_weights(self._model.language_model.lm_head)

    @cached_property
    def frame(self) -> float:
        """SAM 2's eye, for each frame."""
        side = self._config.segmenter.image_size
        return self._count(lambda: self._model.segmenter.encode(_empty(1, 3, side, side)))

    def masks(self, pictures: int, objects: int) -> float:
        """The mask decoder, for so many pictures with so many objects each."""
        one, two = self._masks_of_one_picture
        return pictures * (one + (objects - 1) * (two - one))

    def memory_attention(
        self, objects: int, cells: int, pointers: int, averages_first: bool = False
    ) -> float:
        """For one frame: objects with so many memory cells each, the last of them pointers."""
        asked = (objects, cells, pointers, averages_first)
        if asked not in self._counted:
            network, config = self._model.segmenter.memory_attention, self._config.segmenter
            network.averages_first = averages_first
            coarse = _empty(1, config.hidden_size, config.feature_side, config.feature_side)
            memory = _empty(objects, cells, config.memory_size)
            self._counted[asked] = self._count(lambda: network(coarse, memory, memory[0], pointers))
        return self._counted[asked]

    @cached_property
    def memory(self) -> float:
        """The memory encoder, for each object of a frame."""
        config = self._config.segmenter
        coarse = _empty(1, config.hidden_size, config.feature_side, config.feature_side)
        mask = _empty(1, 1, config.image_size, config.image_size)
        return self._count(lambda: self._model.segmenter.memory_encoder(coarse, mask))

    @cached_property
    def _masks_of_one_picture(self) -> tuple[float, float]:
        segmenter, side = self._model.segmenter, self._config.segmenter.image_size
        with torch.inference_mode():
            features = segmenter.encode(_empty(1, 3, side, side))
        width = self._config.segmenter.hidden_size
        one, two = (
            self._count(lambda n=n: segmenter.decode_prompts(features, _empty(n, 1, width)))  # type: ignore[misc]
            for n in (1, 2)
        )
        return one, two

    def _count(self, run: Callable[[], object]) -> float:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            run()
        return float(counter.get_total_flops())


def _num_weights(module: nn.Module) -> int:
    """Of the matrices, each of which meets every token once."""
    return sum(weight.numel() for weight in module.parameters() if weight.ndim == 2)


def _empty(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")
