import pytest
import torch

from sa2va_cli.models.sa2va import averaging
from sa2va_cli.models.sa2va.averaging import mean_by_cells, mean_by_keys, pays, turned
from sa2va_cli.models.sa2va.memory import RopeAttention
from sa2va_cli.models.sa2va.rope import rope_table, rotate


@pytest.fixture
def attention():
    torch.manual_seed(3)
    return RopeAttention(16, 6).eval()


@torch.inference_mode()
@pytest.mark.parametrize("pointers", [0, 5])
@pytest.mark.parametrize(("height", "width", "grids"), [(4, 7, 3), (6, 3, 1)])
def test_without_keys_the_mean_is_the_same(attention, monkeypatch, height, width, grids, pointers):
    monkeypatch.setattr(averaging, "CELLS_AT_A_TIME", 8)  # the last block is a shorter one
    table = rope_table(height, width, 16, torch.device("cpu"))
    random = torch.Generator().manual_seed(1)
    seen = 3 * torch.randn(2, height * width, 16, generator=random)
    cells, memory = torch.randn(2, 2, grids * height * width + pointers, 6, generator=random)
    queries, keys = attention.placed(seen, cells, table, pointers)
    wanted = mean_by_keys(queries, keys, memory)
    assert (wanted - memory.mean(dim=1, keepdim=True)).abs().mean() > 0.05  # they look at something
    mean = mean_by_cells(queries, cells, memory, turned(attention.k_proj, table), pointers)
    torch.testing.assert_close(mean, wanted)


@torch.inference_mode()
@pytest.mark.parametrize("first", [1, 0.01])
def test_likenesses_beyond_what_can_be_raised_to_a_power(attention, monkeypatch, first):
    monkeypatch.setattr(averaging, "CELLS_AT_A_TIME", 8)
    table = rope_table(4, 4, 16, torch.device("cpu"))
    random = torch.Generator().manual_seed(2)
    seen = 200 * torch.randn(1, 16, 16, generator=random)
    seen[:, :8] *= first
    cells = torch.randn(1, 32, 6, generator=random)
    queries, keys = attention.placed(seen, cells, table, 0)
    assert (queries @ keys.mT / 4).amax(dim=(0, 2))[-1] > 100  # exp overflows from 88 on
    mean = mean_by_cells(queries, cells, cells, turned(attention.k_proj, table), 0)
    torch.testing.assert_close(mean, mean_by_keys(queries, keys, cells), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_likenesses_of_which_no_power_is_left(attention):
    table = rope_table(1, 1, 16, torch.device("cpu"))  # of a single place: nothing turns
    random = torch.Generator().manual_seed(5)
    queries = torch.randn(1, 1, 16, generator=random)
    attention.k_proj.bias.copy_(-400 * queries[0, 0] / queries.square().sum())
    cells = torch.randn(1, 9, 6, generator=random)
    keys = attention.k_proj(cells)
    assert (queries @ keys.mT / 4).max() < -90
    mean = mean_by_cells(queries, cells, cells, turned(attention.k_proj, table), 0)
    torch.testing.assert_close(mean, mean_by_keys(queries, keys, cells), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_attention_at_the_published_size_makes_no_keys():
    torch.manual_seed(4)
    attention = RopeAttention(256, 64).eval()
    attention.averages_first = True
    table = rope_table(64, 64, 256, torch.device("cpu"))
    assert not pays(attention.k_proj, table, 3 * 4096)
    assert pays(attention.k_proj, table, 4 * 4096)
    assert not pays(attention.k_proj, rope_table(18, 18, 256, torch.device("cpu")), 11 * 18**2)
    seen, memory = torch.randn(1, 4096, 256), torch.randn(1, 4 * 4096 + 8, 64)
    projected = []
    attention.k_proj.register_forward_hook(lambda _, given, __: projected.append(len(given[0])))
    without = attention(seen, memory, memory, table, 8)
    assert projected == [8]  # pointers lie nowhere, so they have keys
    attention.averages_first = False
    torch.testing.assert_close(without, attention(seen, memory, memory, table, 8))


def test_half_of_the_pairs_turn_with_the_column_half_with_the_row():
    table = rope_table(3, 5, 8, torch.device("cpu"))
    assert table.shape == (3, 5, 4)
    assert torch.equal(table[0, :, :2], table[2, :, :2])
    assert torch.equal(table[:, 0, 2:], table[:, 4, 2:])
    ones = torch.tensor([1.0, 0.0]).repeat(4).expand(1, 30, 8)  # two grids
    result = torch.view_as_complex(rotate(ones, table).unflatten(2, (4, 2)))
    torch.testing.assert_close(
        result[0, 7], torch.polar(torch.ones(4), torch.tensor([2, 0.02, 1, 0.01]))
    )
    assert torch.equal(result[0, 15:], result[0, :15])
