"""The floor's arithmetic: known sizes by hand, and as linear as it claims to be."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sa2va_cli.bench.arithmetic import Arithmetic
from sa2va_cli.models.sa2va.model import meta_model
from sa2va_cli.models.sa2va.published import published_config


@pytest.fixture(scope="module")
def config():
    return published_config("ByteDance/Sa2VA-1B")


@pytest.fixture(scope="module")
def count(config):
    return Arithmetic(config)


def test_a_tile_costs_what_the_layers_of_internvit_do(count):
    tokens, width, layers = 1025, 1024, 24
    matrices = 2 * tokens * 12 * width**2 * layers
    attention = 4 * tokens**2 * width * layers
    patches = 2 * 1024 * width * 3 * 14**2
    assert count.tile == pytest.approx(matrices + attention + patches, rel=0.01)


def test_a_prefill_costs_two_operations_a_weight_and_token_and_the_attention(count, config):
    width, mlp, layers = 896, 4864, 24
    weights = layers * (2 * width**2 + 2 * width * 128 + 3 * width * mlp)
    assert count.language(1, 0) == pytest.approx(2 * weights, rel=0.001)
    assert count.head(3) == 2 * 3 * config.language.vocab_size * width
    together = count.language(100, 0) + count.language(20, 100)
    assert together == pytest.approx(count.language(120, 0))
    last_but_keys_and_values = 2 * width**2 + 3 * width * mlp
    spared = count.language(1, 0) - count.language(1, 0, cache_only=True)
    assert spared == pytest.approx(2 * last_but_keys_and_values, rel=0.001)


def test_memory_attention_is_counted_as_it_is_run(count, config):
    segmenter = meta_model(config, "eager").segmenter
    coarse = torch.empty(1, 256, 64, 64, device="meta")

    def counted(memories: int, averages_first: bool) -> float:
        memory = torch.empty(3, memories * 4096 + 8, 64, device="meta")
        segmenter.memory_attention.averages_first = averages_first
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            segmenter.memory_attention(coarse, memory, memory[0], 8)
        total = counter.get_total_flops()
        asked = count.memory_attention(3, memories * 4096 + 8, 8, averages_first)
        assert asked == pytest.approx(total)
        return total

    pairs = 3 * 4 * 4096**2  # of a query and a cell: three objects, four layers, one more memory
    projected = 3 * 4 * 4096 * 256 * 64
    assert counted(2, True) - counted(1, True) == 2 * (pairs * (256 + 64) + projected)
    assert counted(11, True) - counted(10, True) == 2 * pairs * 3 * 65  # no keys any more
    # Also behind the others, which are counted on the same model.
    assert counted(2, False) - counted(1, False) == 2 * (pairs * (256 + 256) + 2 * projected)


def test_objects_add_up(count):
    assert count.masks(1, 5) - count.masks(1, 4) == count.masks(1, 2) - count.masks(1, 1)
    assert count.masks(2, 1) == 2 * count.masks(1, 1)
    assert 1.5e12 < count.frame < 2e12  # Hiera-L at 1024 pixels
    assert 0 < count.memory < count.frame
