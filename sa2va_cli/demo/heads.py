"""Networks that exist only while training: they teach the parts what the whole will need."""

import math

import torch
from torch import Tensor, nn

from sa2va_cli.demo.phrases import VALUES

COUNTS = tuple(len(values) for values in VALUES)
FREQUENCIES = 5


class DenseHead(nn.Module):
    """Reads from each patch what covers it: four attributes (or background) and its center."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, sum(COUNTS) + len(COUNTS) + 2)

    def forward(self, patches: Tensor) -> tuple[list[Tensor], Tensor]:
        """(B, P, D) -> logits (B, P, values + 1) per attribute, background first; and centers."""
        output = self.linear(self.norm(patches))
        *logits, centers = output.split([*(count + 1 for count in COUNTS), 2], dim=-1)
        return logits, centers


class Teacher(nn.Module):
    """Stands in for the language model while the segmenter learns to draw.

    A box or attributes or both become a prompt embedding.
    """

    def __init__(self, prompt_size: int, width: int = 128) -> None:
        super().__init__()
        frequencies = 2.0 ** torch.arange(FREQUENCIES) * math.pi
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.frequencies: Tensor
        self.box = nn.Sequential(
            nn.Linear(8 * FREQUENCIES, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.no_box = nn.Parameter(torch.zeros(width))
        self.values = nn.ModuleList(nn.Embedding(count + 1, width) for count in COUNTS)
        self.out = nn.Sequential(
            nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, prompt_size)
        )

    def forward(self, boxes: Tensor, has_box: Tensor, values: Tensor) -> Tensor:
        """Boxes (N, 4), has_box (N,) bool, values (N, 4) with -1 for "any" -> (N, 1, C)."""
        waves = (boxes[..., None] * self.frequencies).flatten(1)
        hidden = self.box(torch.cat((waves.sin(), waves.cos()), dim=1))
        hidden = torch.where(has_box[:, None], hidden, self.no_box)
        for attribute, embedding in enumerate(self.values):
            hidden = hidden + embedding(values[:, attribute] + 1)
        return self.out(hidden)[:, None]


class Pointers(nn.Module):
    """From a language state to the visual tokens it is about, or to "nothing here"."""

    def __init__(self, language_size: int, width: int = 96) -> None:
        super().__init__()
        self.query = nn.Linear(language_size, width)
        self.key = nn.Linear(language_size, width)
        self.nothing = nn.Parameter(torch.zeros(width))

    def forward(self, states: Tensor, visual: Tensor, pictures: Tensor) -> Tensor:
        """States (N, D), visual tokens (B, P, D), the picture of each state (N,) -> (N, P + 1)."""
        keys = self.key(visual)
        keys = torch.cat((keys, self.nothing.expand(len(keys), 1, -1)), dim=1)[pictures]
        return (keys @ self.query(states)[..., None])[..., 0] / keys.shape[-1] ** 0.5


class Heads(nn.Module):
    """All of them."""

    def __init__(self, vision_size: int, language_size: int, prompt_size: int) -> None:
        super().__init__()
        self.dense = DenseHead(vision_size)
        self.teacher = Teacher(prompt_size)
        self.position = nn.Linear(language_size, 3)  # x, y, and whether a thing is counted here
        self.pointers = Pointers(language_size)
        self.remembered = nn.Linear(prompt_size, 1)  # a cell that memory has been asked about
