"""What a processor does instead of a fused attention to memories: it averages the memories
themselves, which are narrower than values, and compares queries with them without making keys.

One head, N objects: queries (N, hw, C), turned by where they are; cells of memory (N, K, D), whose
last `num_pointers` lie nowhere and the others in grids of h x w; `table` (h, w, C / 2).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sa2va_cli.models.sa2va.rope import rotate

KEYS_AT_A_TIME = 512  # queries whose weights are in memory at a time: 90 MB at SAM 2's size
CELLS_AT_A_TIME = 256  # the same where they are compared without keys
PAYS = 0.85  # of the products, or better; small ones take longer than their share
PAYS_FROM = 8192  # cells of memory
LEAST = 1e-20  # sum of weights beside which those that float32 cannot hold do not count


def mean_by_keys(queries: Tensor, keys: Tensor, memory: Tensor) -> Tensor:
    """Attention to finished keys (N, K, C), some queries at a time -> (N, hw, D)."""
    scaled = queries * queries.shape[2] ** -0.5
    return torch.stack(
        [
            torch.cat(
                [(some @ own.mT).softmax(dim=1) @ theirs for some in each.split(KEYS_AT_A_TIME)]
            )
            for each, own, theirs in zip(scaled, keys, memory, strict=True)
        ]
    )


def pays(project: nn.Linear, table: Tensor, num_cells: int) -> bool:
    """Whether `mean_by_cells` takes less time than making keys for `mean_by_keys`."""
    height, width, _ = table.shape
    size, channels = project.in_features, project.out_features
    with_keys = num_cells * (channels + size)
    with_cells = num_cells * 3 * (size + 1) + (height + width) * (size + 1) * channels // 2
    return num_cells >= PAYS_FROM and with_cells <= PAYS * with_keys


class TurnedProjection(NamedTuple):
    """What makes keys of cells, as it acts at each place; the last of D + 1 inputs is the bias."""

    columns: Tensor  # (w, D + 1, C / 2), the half that turns with the column
    rows: Tensor  # (h, D + 1, C / 2), the half that turns with the row
    still: nn.Linear  # for pointers


def turned(project: nn.Linear, table: Tensor) -> TurnedProjection:
    """For grids of the table's size."""
    height, width, _ = table.shape
    weights = torch.cat([project.weight.T, project.bias[None]])[:, None]  # (D + 1, 1, C)
    half = project.out_features // 2
    columns = rotate(weights.expand(-1, width, -1), table[0])[..., :half]
    rows = rotate(weights.expand(-1, height, -1), table[:, 0])[..., half:]
    return TurnedProjection(
        columns.transpose(0, 1).contiguous(), rows.transpose(0, 1).contiguous(), project
    )


def mean_by_cells(
    queries: Tensor, cells: Tensor, memory: Tensor, project: TurnedProjection, num_pointers: int
) -> Tensor:
    """The same without keys, which would be made of `cells` (N, K, D) -> (N, hw, D).

    A key is a projected cell, half of it turned by its column, half by its row; what a query makes
    of it is the sum of both halves. So the projection is turned instead, once for each column and
    once for each row, and multiplied with the queries. What remains are two products over D
    channels for each query and cell, where keys have C: half of the operations at SAM 2's size.
    """
    scaled = queries * queries.shape[2] ** -0.5
    return torch.stack(
        [
            _mean_of_one(each, own, theirs, project, num_pointers)
            for each, own, theirs in zip(scaled, cells, memory, strict=True)
        ]
    )


def _mean_of_one(
    queries: Tensor, cells: Tensor, memory: Tensor, project: TurnedProjection, num_pointers: int
) -> Tensor:
    """(hw, C), (K, D) -> (hw, D)."""
    laid = _laid(cells, memory, project, num_pointers)
    buffer = queries.new_empty(len(cells) * min(CELLS_AT_A_TIME, len(queries)))
    lowered = False
    means = []
    for some in queries.split(CELLS_AT_A_TIME):
        sums = laid.sums(project, some, lowered, buffer)
        if not lowered and not _within_float32(sums):
            lowered = True
            sums = laid.sums(project, some, lowered, buffer)
        means.append(sums[:-1] / sums[-1])
    return torch.cat(means, dim=1).T


class _Laid(NamedTuple):
    """One object's memory as the products want it, a one behind each of its cells."""

    by_column: Tensor  # (w, h * grids, D + 1)
    by_row: Tensor  # (h, grids * w, D + 1)
    contents: Tensor  # (h, D + 1, grids * w)
    pointer_keys: Tensor  # (pointers, C)
    pointer_contents: Tensor  # (D + 1, pointers)

    def sums(
        self, project: TurnedProjection, some: Tensor, lowered: bool, buffer: Tensor
    ) -> Tensor:
        """(queries, C) -> (D + 1, queries): the weighted sum of memory, and of the weights.

        Weights are powers of likenesses; if `lowered`, of their distances from each query's largest
        one, which takes two more passes and never leaves float32. They lie as (h, grids, w,
        queries), so that both products write where they belong.
        """
        columns, rows, _ = project
        (width, height), half = (len(columns), len(rows)), columns.shape[2]
        num_cells = self.by_row.shape[:2].numel()
        num_weights = num_cells + len(self.pointer_keys)
        weights = buffer[: num_weights * len(some)].unflatten(0, (num_weights, len(some)))
        in_grids = weights[:num_cells].unflatten(0, (height, -1, width))
        for_columns = in_grids.flatten(0, 1).transpose(0, 1)
        for_rows = in_grids.flatten(1, 2)
        torch.bmm(self.by_column, columns @ some[:, :half].T, out=for_columns)
        torch.baddbmm(for_rows, self.by_row, rows @ some[:, half:].T, out=for_rows)
        torch.mm(self.pointer_keys, some.T, out=weights[num_cells:])
        if lowered:
            weights.sub_(weights.amax(dim=0))
        weights.exp_()
        sums = torch.bmm(self.contents, for_rows).sum(dim=0)
        return sums.addmm_(self.pointer_contents, weights[num_cells:])


def _laid(cells: Tensor, memory: Tensor, project: TurnedProjection, num_pointers: int) -> _Laid:
    height, width = len(project.rows), len(project.columns)
    num_cells = len(cells) - num_pointers
    grids = _with_one(cells[:num_cells]).unflatten(0, (-1, height, width))
    contents = _with_one(memory[:num_cells]).unflatten(0, (-1, height, width))
    return _Laid(
        by_column=grids.permute(2, 1, 0, 3).flatten(1, 2),
        by_row=grids.permute(1, 0, 2, 3).flatten(1, 2),
        contents=contents.permute(1, 3, 0, 2).flatten(2),
        pointer_keys=project.still(cells[num_cells:]),
        pointer_contents=_with_one(memory[num_cells:]).T,
    )


def _within_float32(sums: Tensor) -> bool:
    """Whether no power was too large, and none too small that counts."""
    if sums.is_meta:  # operations are counted there, and nothing is computed
        return True
    return bool(sums.isfinite().all() and sums[-1].min() > LEAST)


def _with_one(cells: Tensor) -> Tensor:
    """(K, D) -> (K, D + 1): a one behind each, for the bias and for the sum of the weights."""
    return torch.cat([cells, cells.new_ones(len(cells), 1)], dim=1)
