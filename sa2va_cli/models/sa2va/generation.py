"""Greedy answers to several questions: one prefill of what they share, one pass for the rest.

The answers are those of greedy decoding, one question at a time and token by token: exactly so
but for the rounding of passes of another shape (in bfloat16 two words can be that close). They come
faster because the picture goes through the language model once for all questions, and because a
likely answer is appended as a draft and confirmed in the same pass that reads the question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sa2va_cli.models.sa2va.drafts import DraftBook, Ids
from sa2va_cli.models.sa2va.greedy import Greedy
from sa2va_cli.models.sa2va.kept import KeptCells
from sa2va_cli.models.sa2va.key_values import KeyValues
from sa2va_cli.models.sa2va.packing import PackedCells
from sa2va_cli.models.sa2va.reader import Reader
from sa2va_cli.models.sa2va.stopping import StopRule

MAX_NEW_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A question as the language model gets it."""

    ids: list[int]
    embeddings: Tensor  # (T, D), visual embeddings in their places
    shareable: int  # the first so many tokens are alike wherever their ids are
    picture_end: int = 0  # index behind the last visual token; what follows is the question

    @property
    def question(self) -> Ids:
        return tuple(self.ids[self.picture_end :])


@dataclass(frozen=True, slots=True)
class GeneratedAnswer:
    """What came after one prompt."""

    ids: list[int]  # the stop token included
    seg_states: Tensor  # (N, D): final states where a [SEG] was the input
    seg_probabilities: tuple[float, ...]  # (N,) of those same [SEG], when they were predicted


class Generator:
    """Greedy decoding with a key-value cache that all prompts of a picture share."""

    def __init__(self, reader: Reader, greedy: Greedy, stop: StopRule, seg_token_id: int) -> None:
        self._reader = reader
        self._greedy = greedy
        self._stop = stop
        self._seg_token_id = seg_token_id
        self.drafts = DraftBook()

    def generate(self, prompts: list[EncodedPrompt]) -> list[GeneratedAnswer]:
        """Answer all prompts, which may share a beginning."""
        return self.generate_with_asides(prompts, [])[0]

    def generate_with_asides(
        self, prompts: list[EncodedPrompt], asides: list[EncodedPrompt]
    ) -> tuple[list[GeneratedAnswer], Tensor]:
        """The same, and in the same pass the logits (asides, V) of the token after each aside."""
        everything = [*prompts, *asides]
        shared = shared_length(everything)
        device = prompts[0].embeddings.device
        read = self._reader.new_cells()
        if shared:
            beginning = prompts[0].embeddings[:shared]
            self._reader(beginning, torch.arange(shared, device=device), None, read)
        cells = PackedCells(shared, device)
        answers = [
            _Answer(row, len(prompt.ids), self.drafts.propose(prompt.question))
            for row, prompt in enumerate(prompts)
        ]
        heard = [
            _Aside(row, len(aside.ids), draft=())
            for row, aside in enumerate(asides, start=len(prompts))
        ]
        self._read_and_verify(everything, [*answers, *heard], shared, cells, read)
        while active := [answer for answer in answers if not answer.done]:
            self._step(active, shared, cells, read)
        if any(answer.draft != tuple(answer.ids) for answer in answers):
            answers = self._replay(everything, answers, heard, shared, read)
        for prompt, answer in zip(prompts, answers, strict=True):
            self.drafts.learn(prompt.question, tuple(answer.ids))
        states = [aside.state for aside in heard if aside.state is not None]
        like = prompts[0].embeddings
        ends = torch.stack(states) if states else like.new_zeros(0, like.shape[1])
        logits = self._greedy.lm_head(ends).float()
        return [answer.finish(like) for answer in answers], logits

    def _replay(
        self,
        everything: list[EncodedPrompt],
        answers: list["_Answer"],
        heard: list["_Aside"],
        shared: int,
        read: KeyValues,
    ) -> list["_Answer"]:
        """The pass that would have been, had the drafts been right.

        Token by token, states come out the same but for rounding. Taking them from one pass over
        the finished answers makes them the same to the last bit, whatever was asked before.
        """
        if not heard and not any(answer.seg_states for answer in answers):
            return answers  # only text, which rounding does not touch
        again = [_Answer(answer.row, answer.prompt_length, tuple(answer.ids)) for answer in answers]
        read.cut(shared)
        cells = PackedCells(shared, everything[0].embeddings.device)
        self._read_and_verify(everything, [*again, *heard], shared, cells, read)
        return [new if new.ids == old.ids else old for new, old in zip(again, answers, strict=True)]

    def converse(
        self, prompt: EncodedPrompt, kept: KeptCells, on_ids: Callable[[list[int]], None]
    ) -> GeneratedAnswer:
        """Answer one prompt, of which what `kept` holds is not read again.

        `on_ids` gets the answer's ids after every step. An error at any point, Ctrl-C too, leaves
        `kept` fit for the next prompt.
        """
        shared = kept.keep(prompt.ids)
        cells = PackedCells(shared, prompt.embeddings.device)
        answer = _Answer(0, len(prompt.ids), draft=())
        self._read_and_verify([prompt], [answer], shared, cells, kept.cells)
        kept.ids = list(prompt.ids)
        on_ids(answer.ids)
        while not answer.done:
            fed = answer.ids[-1]
            self._step([answer], shared, cells, kept.cells, drafting=False)
            kept.ids.append(fed)
            on_ids(answer.ids)
        return answer.finish(prompt.embeddings)

    def _read_and_verify(
        self,
        prompts: list[EncodedPrompt],
        answers: Sequence["_Answer"],
        shared: int,
        cells: PackedCells,
        read: KeyValues,
    ) -> None:
        """One pass over what is each prompt's own, and over its draft behind it."""
        rows = [
            torch.cat((prompt.embeddings[shared:], self._reader.embed(answer.draft[:-1])))
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        device = rows[0].device
        lengths = torch.tensor([len(row) for row in rows], device=device)
        owners = torch.arange(len(rows), device=device).repeat_interleave(lengths)
        positions = torch.cat([torch.arange(len(row), device=device) + shared for row in rows])
        mask = cells.append(owners, positions)
        states = self._reader(torch.cat(rows), positions, mask, read)  # (all rows, D)
        for answer, own in zip(answers, states.split(lengths.tolist()), strict=True):
            # From the prompt's last token on, each state predicts a token of the answer.
            kept = answer.verify(
                own[answer.prompt_length - shared - 1 :], answer.draft, self._greedy, self._stop,
                self._seg_token_id,
            )  # fmt: skip
            cells.forget(shared, answer.row, answer.prompt_length + kept)

    def _step(
        self,
        active: list["_Answer"],
        shared: int,
        cells: PackedCells,
        read: KeyValues,
        *,
        drafting: bool = True,
    ) -> None:
        """Feed the newest token of each unfinished answer, and predict the next.

        When `drafting`, tokens that may follow are fed behind it, and kept as far as they do.
        """
        drafts = [self.drafts.follow(answer.ids) if drafting else () for answer in active]
        lengths = [1 + len(draft) for draft in drafts]
        owners = [
            answer.row
            for answer, length in zip(active, lengths, strict=True)
            for _ in range(length)
        ]
        starts = [answer.next_position for answer in active]
        fed = [
            token
            for answer, draft in zip(active, drafts, strict=True)
            for token in (answer.ids[-1], *draft)
        ]
        embeddings = self._reader.embed(tuple(fed))
        device = embeddings.device
        positions = torch.tensor(
            [
                start + i
                for start, length in zip(starts, lengths, strict=True)
                for i in range(length)
            ],
            device=device,
        )
        mask = cells.append(torch.tensor(owners, device=device), positions)
        states = self._reader(embeddings, positions, mask, read)
        for answer, start, draft, own in zip(
            active, starts, drafts, states.split(lengths), strict=True
        ):
            answer.feed(own[0], self._seg_token_id)
            kept = answer.verify(own, draft, self._greedy, self._stop, self._seg_token_id)
            if kept < len(draft):
                cells.forget(shared, answer.row, start + 1 + kept)


def shared_length(prompts: list[EncodedPrompt]) -> int:
    """How many tokens the prompts begin with alike; each keeps at least one of its own.

    One prompt alone shares its picture with what may be read behind it once more.
    """
    if len(prompts) == 1:
        return min(prompts[0].picture_end, len(prompts[0].ids) - 1)
    limit = min(min(prompt.shareable, len(prompt.ids) - 1) for prompt in prompts)
    first = prompts[0].ids
    for index in range(limit):
        if any(prompt.ids[index] != first[index] for prompt in prompts):
            return index
    return limit


@dataclass(slots=True)
class _Answer:
    """One answer while it is written."""

    row: int
    prompt_length: int
    draft: Ids
    ids: list[int] = field(default_factory=list)
    done: bool = False
    probability: float = 0.0  # of the newest token
    seg_states: list[Tensor] = field(default_factory=list)
    seg_probabilities: list[float] = field(default_factory=list)

    @property
    def next_position(self) -> int:
        """Where the newest token stands when it is fed."""
        return self.prompt_length + len(self.ids) - 1

    def add(self, token: int, probability: float, stop: StopRule) -> None:
        self.ids.append(token)
        self.probability = probability
        self.done = stop(self.ids) or len(self.ids) == MAX_NEW_TOKENS

    def feed(self, state: Tensor, seg_token_id: int) -> None:
        """`state` belongs to the newest token as input."""
        if self.ids[-1] == seg_token_id:
            self.seg_states.append(state)
            self.seg_probabilities.append(self.probability)

    def verify(
        self, states: Tensor, draft: Ids, greedy: Greedy, stop: StopRule, seg_token_id: int
    ) -> int:
        """Take the draft as far as the model agrees, and the model's own token behind that.

        `states` (1 + draft tokens fed, D): of the token before the draft, and of the draft's.
        Returns how many draft tokens stay in the cache.
        """
        steps = range(len(self.ids), len(self.ids) + len(states))
        tokens, probabilities = greedy(states, steps)
        for index, (token, probability) in enumerate(zip(tokens, probabilities, strict=True)):
            self.add(token, probability, stop)
            agreed = index < len(draft) and token == draft[index]
            if self.done or not agreed or index + 1 == len(states):
                return index
            self.feed(states[index + 1], seg_token_id)
        raise AssertionError("there is a state for the token before the draft")

    def finish(self, like: Tensor) -> GeneratedAnswer:
        states = (
            torch.stack(self.seg_states) if self.seg_states else like.new_zeros(0, like.shape[1])
        )
        return GeneratedAnswer(self.ids, states, tuple(self.seg_probabilities))


@dataclass(slots=True)
class _Aside(_Answer):
    """A prompt that is only read: what counts is which token would come next."""

    done: bool = True
    state: Tensor | None = None  # (D,) of the prompt's last token

    def verify(
        self, states: Tensor, draft: Ids, greedy: Greedy, stop: StopRule, seg_token_id: int
    ) -> int:
        self.state = states[0]
        return 0
