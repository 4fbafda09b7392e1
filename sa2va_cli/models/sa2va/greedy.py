"""Which token comes next: the likeliest one, or, to measure without training, a prescribed one."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from sa2va_cli.models.sa2va.numbers import check_numbers

Ids = tuple[int, ...]


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
        logits = self.lm_head(states).float()  # (T, V)
        tokens = logits.argmax(dim=-1)
        if self.forced:
            last = len(self.forced) - 1
            tokens = tokens.new_tensor([self.forced[min(step, last)] for step in steps])
        chosen = logits.gather(1, tokens[:, None])[:, 0]
        probabilities = (chosen - logits.logsumexp(dim=-1)).exp().tolist()
        check_numbers(probabilities, "words")
        return tokens.tolist(), probabilities
