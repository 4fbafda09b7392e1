"""Several prompts in one sequence: each sees the shared beginning and itself, never the others.

The key-value cache holds the shared beginning once. Prompts, drafts and the tokens that follow are
appended to it in any order; a mask says which cells belong to whom.
"""

import torch
from torch import Tensor

SHARED = -1  # owner of cells that every prompt sees
NOBODY = -2  # owner of cells that are seen no more: drafts that were wrong


class PackedCells:
    """Who owns each cell of the cache, and at which position of its own sequence it stands."""

    def __init__(self, shared: int, device: torch.device) -> None:
        self._owners = torch.full((shared,), SHARED, device=device)
        self._positions = torch.arange(shared, device=device)

    def append(self, owners: Tensor, positions: Tensor) -> Tensor:
        """Add cells for the next pass; returns its mask (new, all), True where seen."""
        self._owners = torch.cat((self._owners, owners))
        self._positions = torch.cat((self._positions, positions))
        mine = (self._owners == owners[:, None]) | (self._owners == SHARED)
        earlier = self._positions <= positions[:, None]
        return mine & earlier

    def forget(self, first: int, owner: int, position: int) -> None:
        """Nobody sees the owner's cells from `position` on, among the cells from `first` on."""
        wrong = (self._owners == owner) & (self._positions >= position)
        wrong[:first] = False
        self._owners[wrong] = NOBODY
