"""Axial rotary positions: half of a state's pairs turn with its column, half with its row."""

import torch
from torch import Tensor

from sa2va_cli.models.sa2va.constants import made_once

ROPE_THETA = 10000.0


@made_once
def rope_table(height: int, width: int, dim: int, device: torch.device) -> Tensor:
    """(h, w, dim / 2) complex64: the first half for the column, the second for the row."""
    quarter = torch.arange(0, dim, 4, device=device)[: dim // 4].float()
    frequencies = 1.0 / (ROPE_THETA ** (quarter / dim))
    columns = torch.outer(torch.arange(width, device=device).float(), frequencies)
    rows = torch.outer(torch.arange(height, device=device).float(), frequencies)
    angles = torch.cat((columns.expand(height, -1, -1), rows[:, None].expand(-1, width, -1)), dim=2)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(states: Tensor, table: Tensor) -> Tensor:
    """(N, k * cells, C) turned in float32; the table (..., C / 2) repeats for each of the k
    grids."""
    by_cell = table.flatten(0, -2)
    pairs = torch.view_as_complex(states.float().unflatten(-1, (-1, 2)))
    repeats = states.shape[1] // len(by_cell)
    turned = pairs.unflatten(1, (repeats, len(by_cell))) * by_cell
    return torch.view_as_real(turned).flatten(-2).flatten(1, 2).to(states.dtype)
