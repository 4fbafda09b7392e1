"""Which token comes next: the likeliest one, or, to measure without training, a prescribed one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sa2va_cli.models.sa2va.device import to_device
from sa2va_cli.models.sa2va.numbers import check_numbers
from sa2va_cli.models.sa2va.tokenizer import Ids

HEAD_ROWS = 256  # states whose logits are in memory at a time: 155 MB at 150,000 words


@dataclass(frozen=True, slots=True)
class Greedy:
    """Greedy choice, the same for every engine.

    `forced` is for `sa2va bench` with random weights, which never say [SEG] by themselves: the
    n-th token of every answer is then the n-th of these. All logits are computed all the same.
    """

    lm_head: nn.Module
    forced: Ids = ()

    def __call__(self, states: Tensor, steps: Sequence[int]) -> tuple[list[int], list[float]]:
        """(T, D) -> the token after each state, and its probability.

        `steps` (T) tells the place of each of these tokens in its answer, from 0. Raises
        CheckpointError where there are no numbers: every token would be as good as any other.
        """
        tokens: list[int] = []
        probabilities: list[float] = []
        for first in range(0, len(states), HEAD_ROWS):
            rows = slice(first, first + HEAD_ROWS)
            few = self._choose(states[rows], steps[rows])
            tokens += map(int, few[0])
            probabilities += few[1]
        check_numbers(probabilities, "words")
        return tokens, probabilities

    def _choose(self, states: Tensor, steps: Sequence[int]) -> list[list[float]]:
        """Tokens and probabilities, which a GPU is waited for once."""
        logits = self.lm_head(states).float()  # (T, V)
        tokens = logits.argmax(dim=-1)
        if self.forced:
            last = len(self.forced) - 1
            prescribed = torch.tensor([self.forced[min(step, last)] for step in steps])
            tokens = to_device(prescribed, tokens.device)
        chosen = logits.gather(1, tokens[:, None])[:, 0]
        probabilities = (chosen - logits.logsumexp(dim=-1)).exp()
        return torch.stack((tokens.double(), probabilities.double())).tolist()
