"""Time by stage: hooks on the networks note how long each pass took, and what it had to do."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from sa2va_cli.bench.arithmetic import Arithmetic
from sa2va_cli.bench.machine import dtype_name
from sa2va_cli.models.sa2va.model import Sa2vaModel

Moment = Any  # seconds, or a CUDA event
Count = Callable[[], float]  # of operations; asked for when nobody looks at the clock any more
Flops = Callable[[Any, Any], Count]  # of a pass, from its arguments
Inputs = tuple[tuple[Any, ...], dict[str, Any]]
LANGUAGE = "language"  # a stage in two parts, by what is read


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of one network."""

    stage: str
    seconds: float
    flops: float
    bytes_read: float  # weights, and the key-value cache: read at least once
    dtype: str  # that it computes in


class StageClock:
    """Watches one model; a clock is read around each network, and nobody waits for the device."""

    def __init__(self, model: Sa2vaModel, arithmetic: Arithmetic) -> None:
        self._model = model
        self._arithmetic = arithmetic
        self._device = model.language_model.device
        language = model.language_model
        self._language_bytes = sum(weight.nbytes for weight in language.model.parameters())
        self._language_bytes -= language.get_input_embeddings().weight.nbytes  # looked up, not read
        self._cell_bytes = model.reader.new_cells().cell_bytes
        self._passes: list[tuple[str, Moment, Moment, Count, float, str]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note all passes in here, and forget those before."""
        self._passes.clear()
        handles = [h for network in self._networks() for h in self._hook(*network)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def passes(self) -> list[Pass]:
        """Call it when the device has finished."""
        return [
            Pass(stage, self._between(start, end), flops(), size, dtype)
            for stage, start, end, flops, size, dtype in self._passes
        ]

    def _networks(self) -> list[tuple[str, nn.Module, Flops]]:
        model, count = self._model, self._arithmetic
        decoders = [model.segmenter.mask_decoder, model.segmenter.tracking_decoder]
        return [
            (
                "vision tower",
                model.vision_encoder,
                lambda _, k: _times(len(k["pixel_values"]), lambda: count.tile),
            ),
            (
                "projector",
                model.projector,
                lambda a, _: _times(_rows(a[0]), lambda: count.visual_token),
            ),
            (LANGUAGE, model.language_model.model, self._language_flops),
            (LANGUAGE, model.reader, self._language_flops),
            (
                "its head",
                model.language_model.lm_head,
                lambda a, _: partial(count.head, _rows(a[0])),
            ),
            (
                "SAM 2 encoder",
                model.segmenter.image_encoder,
                lambda a, _: _times(len(a[0]), lambda: count.frame),
            ),
            *(("mask decoder", decoder, self._mask_flops) for decoder in decoders if decoder),
            ("memory attention", model.segmenter.memory_attention, self._memory_flops),
            (
                "memory encoder",
                model.segmenter.memory_encoder,
                lambda a, _: _times(len(a[1]), lambda: count.memory),
            ),
        ]

    def _hook(self, stage: str, network: nn.Module, flops: Flops) -> list[Any]:
        weights = sum(weight.nbytes for weight in network.parameters())
        dtype = dtype_name(self._dtype_of(network))
        begun: list[tuple[Moment, Count, float, str]] = []

        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            name, size = stage, float(weights)
            if stage == LANGUAGE:
                cached = sum(before for _, before, _ in _readings(args, kwargs))
                size = self._language_bytes + cached * self._cell_bytes
                name = f"{LANGUAGE}: answers" if cached else f"{LANGUAGE}: picture"
            begun.append((self._now(), flops(args, kwargs), size, name))

        def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            start, operations, size, name = begun.pop()
            self._passes.append((name, start, self._now(), operations, size, dtype))

        return [
            network.register_forward_pre_hook(before, with_kwargs=True),
            network.register_forward_hook(after, with_kwargs=True),
        ]

    def _dtype_of(self, network: nn.Module) -> torch.dtype:
        """Our Reader has no weights of its own."""
        return next(network.parameters(), self._model.language_model.lm_head.weight).dtype

    def _language_flops(self, args: Any, kwargs: Any) -> Count:
        readings, count = _readings(args, kwargs), self._arithmetic.language
        return lambda: sum(count(*reading) for reading in readings)

    def _mask_flops(self, args: Any, kwargs: Any) -> Count:
        pictures, objects = kwargs["sparse_prompt_embeddings"].shape[:2]
        return partial(self._arithmetic.masks, pictures, objects)

    def _memory_flops(self, args: Any, kwargs: Any) -> Count:
        _, memory, _, pointers = args
        objects, cells, _ = memory.shape
        averages_first = self._model.segmenter.memory_attention.averages_first
        count = self._arithmetic.memory_attention
        return partial(count, objects, cells, pointers, averages_first)

    def _now(self) -> Moment:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))  # not that of the first device
        return event

    def _between(self, start: Moment, end: Moment) -> float:
        if self._device.type != "cuda":
            return float(end - start)
        return float(start.elapsed_time(end)) / 1000


def _times(number: int, each: Count) -> Count:
    return lambda: number * each()


def _rows(states: torch.Tensor) -> int:
    return states.numel() // states.shape[-1]


def _readings(args: Any, kwargs: Any) -> list[tuple[int, int, bool]]:
    """Tokens that a pass of the language model reads, tokens that were read before, and whether
    only keys and values are wanted: of each picture."""
    if args:  # of our Reader
        _, *chunks = args
        cache_only = all(chunk.cache_only for chunk in chunks)
        return [(len(chunk), chunk.cells.length, cache_only) for chunk in chunks]
    cache = kwargs.get("past_key_values")  # of transformers' module
    return [(kwargs["inputs_embeds"].shape[1], cache.get_seq_length() if cache else 0, False)]
