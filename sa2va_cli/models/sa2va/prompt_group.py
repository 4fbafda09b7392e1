"""What is asked about one picture, and its answers while they are written."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from sa2va_cli.models.sa2va.device import to_device
from sa2va_cli.models.sa2va.key_values import KeyValues
from sa2va_cli.models.sa2va.packing import PackedCells
from sa2va_cli.models.sa2va.reader import Chunk
from sa2va_cli.models.sa2va.stopping import StopRule
from sa2va_cli.models.sa2va.tokenizer import Ids

MAX_NEW_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A question as the language model gets it."""

    ids: list[int]
    embeddings: Tensor  # (T, D), visual embeddings in their places
    shareable: int  # the first so many tokens are alike wherever their ids are
    picture_end: int = 0  # index behind the last visual token; what follows is the question

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def question(self) -> Ids:
        return tuple(self.ids[self.picture_end :])


@dataclass(frozen=True, slots=True)
class GeneratedAnswer:
    """What came after one prompt."""

    ids: list[int]  # the stop token included
    seg_states: Tensor  # (N, D): final states where a [SEG] was the input
    seg_probabilities: tuple[float, ...]  # (N,) of those same [SEG], when they were predicted


class OpenAnswer:
    """One answer while it is written."""

    def __init__(self, row: int, prompt: EncodedPrompt, draft: Ids) -> None:
        """`row` owns its cells; `draft` is what the whole answer may be."""
        self.row = row
        self.prompt = prompt
        self.ids: list[int] = []
        self.done = False
        self.draft = draft  # what may come next, to be verified in the next pass
        self._first_draft = draft
        self._probability = 0.0  # of the newest token
        self._seg_states: list[Tensor] = []
        self._seg_probabilities: list[float] = []

    @property
    def is_as_drafted(self) -> bool:
        return self._first_draft == tuple(self.ids)

    @property
    def has_masks(self) -> bool:
        return bool(self._seg_states)

    @property
    def next_position(self) -> int:
        """Where the newest token stands when it is fed."""
        return len(self.prompt) + len(self.ids) - 1

    @property
    def fed(self) -> Ids:
        """What goes into the next pass: the newest token, and the draft behind it."""
        return (self.ids[-1], *self.draft)

    def feed(self, state: Tensor, seg_token_id: int) -> None:
        """`state` belongs to the newest token as input."""
        if self.ids[-1] == seg_token_id:
            self._seg_states.append(state)
            self._seg_probabilities.append(self._probability)

    def verify(
        self, states: Tensor, predicted: list[tuple[int, float]], stop: StopRule, seg_token_id: int
    ) -> None:
        """Take the draft as far as the model agrees, and the model's own token behind that.

        `states` (1 + draft tokens fed, D): of the token before the draft, and of the draft's.
        `predicted`: the token behind each of them, and its probability.
        """
        for index, (token, probability) in enumerate(predicted):
            self.ids.append(token)
            self._probability = probability
            self.done = stop(self.ids) or len(self.ids) == MAX_NEW_TOKENS
            agreed = index < len(self.draft) and token == self.draft[index]
            if self.done or not agreed or index + 1 == len(states):
                return
            self.feed(states[index + 1], seg_token_id)

    def finish(self) -> GeneratedAnswer:
        none = self.prompt.embeddings[:0]
        states = torch.stack(self._seg_states) if self.has_masks else none
        return GeneratedAnswer(self.ids, states, tuple(self._seg_probabilities))


@dataclass(slots=True)
class Aside:
    """A prompt that is only read: what counts is which token would come next."""

    prompt: EncodedPrompt
    state: Tensor | None = None  # (D,) of the prompt's last token


class PromptGroup:
    """The prompts about one picture, behind the beginning that they share."""

    def __init__(
        self, shared: int, read: KeyValues, answers: list[OpenAnswer], asides: list[Aside]
    ) -> None:
        """`shared` tokens, alike in all prompts, are in `read`."""
        self.shared = shared
        self.read = read
        self.answers = answers
        self.asides = asides
        self._device = answers[0].prompt.embeddings.device
        # One prompt alone sees all that was read.
        several = len(answers) + len(asides) > 1
        self._cells = PackedCells(shared, self._device) if several else None

    @property
    def unfinished(self) -> list[OpenAnswer]:
        return [answer for answer in self.answers if not answer.done]

    def expects(self, token_id: int) -> bool:
        """Whether an answer is drafted with this token."""
        return any(token_id in answer.draft for answer in self.answers)

    @property
    def is_to_be_read_again(self) -> bool:
        """Whether some answer came in other passes than if its draft had been right, and more
        than text, which rounding does not touch, is wanted."""
        surprising = not all(answer.is_as_drafted for answer in self.answers)
        return surprising and (
            bool(self.asides) or any(answer.has_masks for answer in self.answers)
        )

    def chunk(self, parts: Iterable[tuple[int, int, int]]) -> Chunk:
        """The next cells: the row that owns them, the position of the first, and how many."""
        owned = [(row, start + i) for row, start, count in parts for i in range(count)]
        owners, positions = to_device(torch.tensor(owned).T.contiguous(), self._device)
        mask = self._cells.append(owners, positions) if self._cells else None
        return Chunk(positions, mask, self.read)

    def forget_drafts(self) -> None:
        """They are verified: what was fed and is no part of its answer, nobody sees any more."""
        for answer in self.answers:
            if answer.draft and self._cells:
                self._cells.forget(self.shared, answer.row, answer.next_position)
            elif answer.draft:
                self.read.cut(answer.next_position)
            answer.draft = ()

    def again(self) -> "PromptGroup":
        """As if nothing was asked yet, with the answers as drafts."""
        self.read.cut(self.shared)
        drafted = [OpenAnswer(one.row, one.prompt, tuple(one.ids)) for one in self.answers]
        return PromptGroup(self.shared, self.read, drafted, self.asides)


def shared_length(prompts: list[EncodedPrompt]) -> int:
    """How many tokens the prompts begin with alike; each keeps at least one of its own.

    One prompt alone shares its picture with what may be read behind it once more.
    """
    if len(prompts) == 1:
        return min(prompts[0].picture_end, len(prompts[0]) - 1)
    limit = min(min(prompt.shareable, len(prompt) - 1) for prompt in prompts)
    first = prompts[0].ids
    for index in range(limit):
        if any(prompt.ids[index] != first[index] for prompt in prompts):
            return index
    return limit
