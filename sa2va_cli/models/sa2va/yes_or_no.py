"""How sure the model is of yes: the first token of its answer, as far as it means yes or no."""

from dataclasses import dataclass

from torch import Tensor

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.numbers import check_numbers
from sa2va_cli.models.sa2va.tokenizer import Tokenizer

YES = ("yes", "Yes", " yes", " Yes")
NO = ("no", "No", " no", " No")


@dataclass(frozen=True, slots=True)
class YesOrNo:
    """The tokens that answers meaning yes, or no, begin with."""

    yes: tuple[int, ...]
    no: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "YesOrNo":
        """A spelling counts by its first token, unless yes and no share that token (a space).

        Raises UsageError if no token tells yes from no.
        """
        yes, no = _first_tokens(tokenizer, YES), _first_tokens(tokenizer, NO)
        if not yes - no or not no - yes:
            raise UsageError(
                "This model's tokenizer cannot tell yes from no.", hint="run without --presence"
            )
        return cls(tuple(sorted(yes - no)), tuple(sorted(no - yes)))

    def probabilities(self, logits: Tensor) -> list[float]:
        """(N, V) of the answers' first tokens -> P(yes), among the tokens of yes and no alone."""
        chosen = logits[:, [*self.yes, *self.no]].float().softmax(dim=-1)
        sure = chosen[:, : len(self.yes)].sum(dim=-1).clamp(0.0, 1.0).tolist()
        check_numbers(sure, "words")
        return sure


def _first_tokens(tokenizer: Tokenizer, spellings: tuple[str, ...]) -> set[int]:
    return {tokenizer.encode(spelling)[0] for spelling in spellings}
