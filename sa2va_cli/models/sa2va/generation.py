"""Greedy answers to several questions: one prefill of what they share, one pass for the rest.

The answers are those of greedy decoding, one question at a time and token by token: exactly so
but for the rounding of passes of another shape (in bfloat16 two words can be that close). They come
faster because the picture goes through the language model once for all questions, because a
likely answer is appended as a draft and confirmed in the same pass that reads the question, and
because several pictures are talked about at a time.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from sa2va_cli.models.sa2va.device import to_device
from sa2va_cli.models.sa2va.drafts import DraftBook, Ids
from sa2va_cli.models.sa2va.greedy import Greedy
from sa2va_cli.models.sa2va.kept import KeptCells
from sa2va_cli.models.sa2va.key_values import KeyValues
from sa2va_cli.models.sa2va.packing import PackedCells
from sa2va_cli.models.sa2va.reader import Reader, Sequel
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
        return self.generate_each([(prompts, [])])[0][0]

    def generate_each(
        self, asked: Sequence[tuple[list[EncodedPrompt], list[EncodedPrompt]]]
    ) -> list[tuple[list[GeneratedAnswer], Tensor]]:
        """Prompts and asides about each of several pictures: answers to the prompts, and the
        logits (asides, V) of the token after each aside.

        A picture and what is asked about it is read by itself, with drafts of the answers; what is
        left to be written token by token is written for all pictures in the same passes.
        """
        talks = [self._begin(prompts, asides) for prompts, asides in asked]
        while unfinished := [talk for talk in talks if talk.unfinished]:
            self._step(unfinished)
        return [self._end(talk) for talk in talks]

    def converse(
        self, prompt: EncodedPrompt, kept: KeptCells, on_ids: Callable[[list[int]], None]
    ) -> GeneratedAnswer:
        """Answer one prompt, of which what `kept` holds is not read again.

        `on_ids` gets the answer's ids after every step. An error at any point, Ctrl-C too, leaves
        `kept` fit for the next prompt.
        """
        shared = kept.keep(prompt.ids)
        answer = _Answer(0, prompt, draft=())
        talk = _Talk(shared, kept.cells, [answer], [])
        self._read_and_verify(talk)
        kept.ids = list(prompt.ids)
        on_ids(answer.ids)
        while not answer.done:
            fed = answer.ids[-1]
            self._step([talk], drafting=False)
            kept.ids.append(fed)
            on_ids(answer.ids)
        return answer.finish()

    def _begin(self, prompts: list[EncodedPrompt], asides: list[EncodedPrompt]) -> "_Talk":
        """Read one picture, and in one more pass all that is asked about it."""
        shared = shared_length([*prompts, *asides])
        read = self._reader.new_cells()
        if shared:
            beginning = prompts[0].embeddings[:shared]
            places = torch.arange(shared, device=beginning.device)
            self._reader(beginning, Sequel(places, None, read, silent=True))
        answers = [
            _Answer(row, prompt, self.drafts.propose(prompt.question))
            for row, prompt in enumerate(prompts)
        ]
        heard = [_Aside(row, aside, ()) for row, aside in enumerate(asides, start=len(prompts))]
        talk = _Talk(shared, read, answers, heard)
        self._read_and_verify(talk)
        return talk

    def _end(self, talk: "_Talk") -> tuple[list[GeneratedAnswer], Tensor]:
        answers = talk.answers
        if any(answer.draft != tuple(answer.ids) for answer in answers):
            answers = self._replay(talk)
        for answer in answers:
            self.drafts.learn(answer.prompt.question, tuple(answer.ids))
        states = [aside.state for aside in talk.heard if aside.state is not None]
        like = answers[0].prompt.embeddings
        ends = torch.stack(states) if states else like.new_zeros(0, like.shape[1])
        logits = self._greedy.lm_head(ends).float()
        return [answer.finish() for answer in answers], logits

    def _replay(self, talk: "_Talk") -> list["_Answer"]:
        """The pass that would have been, had the drafts been right.

        Token by token, states come out the same but for rounding. Taking them from one pass over
        the finished answers makes them the same to the last bit, whatever was asked before.
        """
        answers = talk.answers
        if not talk.heard and not any(answer.seg_states for answer in answers):
            return answers  # only text, which rounding does not touch
        again = [_Answer(answer.row, answer.prompt, tuple(answer.ids)) for answer in answers]
        talk.read.cut(talk.shared)
        self._read_and_verify(_Talk(talk.shared, talk.read, again, talk.heard))
        return [new if new.ids == old.ids else old for new, old in zip(again, answers, strict=True)]

    def _read_and_verify(self, talk: "_Talk") -> None:
        """One pass over what is each prompt's own, and over its draft behind it."""
        shared, everything = talk.shared, [*talk.answers, *talk.heard]
        rows = [
            torch.cat((one.prompt.embeddings[shared:], self._reader.embed(one.draft[:-1])))
            for one in everything
        ]
        lengths = [len(row) for row in rows]
        sequel = talk.sequel(
            (one.row, shared, length) for one, length in zip(everything, lengths, strict=True)
        )
        states = self._reader(torch.cat(rows), sequel)  # (all rows, D)
        # From the prompt's last token on, each state predicts a token of the answer.
        own = [
            some[one.prompt_length - shared - 1 :]
            for one, some in zip(everything, states.split(lengths), strict=True)
        ]
        kept = self._verify(everything, own, [one.draft for one in everything])
        for one, count in zip(everything, kept, strict=True):
            talk.cells.forget(shared, one.row, one.prompt_length + count)

    def _step(self, talks: Sequence["_Talk"], *, drafting: bool = True) -> None:
        """Feed the newest token of each unfinished answer, and predict the next.

        When `drafting`, tokens that may follow are fed behind it, and kept as far as they do.
        """
        active = [
            (talk, answer, self.drafts.follow(answer.ids) if drafting else ())
            for talk in talks
            for answer in talk.unfinished
        ]
        fed = [token for _, answer, draft in active for token in (answer.ids[-1], *draft)]
        sequels = [
            talk.sequel(
                (answer.row, answer.next_position, 1 + len(draft))
                for one, answer, draft in active
                if one is talk
            )
            for talk in talks
        ]
        states = self._reader(self._reader.embed(tuple(fed)), *sequels)
        own = states.split([1 + len(draft) for _, _, draft in active])
        for (_, answer, _), newest in zip(active, own, strict=True):
            answer.feed(newest[0], self._seg_token_id)
        starts = [answer.next_position for _, answer, _ in active]
        kept = self._verify([answer for _, answer, _ in active], own, [d for _, _, d in active])
        for (talk, answer, draft), start, count in zip(active, starts, kept, strict=True):
            if count < len(draft):
                talk.cells.forget(talk.shared, answer.row, start + 1 + count)

    def _verify(
        self, answers: Sequence["_Answer"], states: Sequence[Tensor], drafts: Sequence[Ids]
    ) -> list[int]:
        """What each answer keeps of its draft; the head, half of the weights of small models, is
        read once for all."""
        steps = [
            step for answer, own in zip(answers, states, strict=True) for step in answer.steps(own)
        ]
        tokens, probabilities = self._greedy(torch.cat(list(states)), steps)
        predicted = zip(tokens, probabilities, strict=True)
        return [
            answer.verify(
                own, draft, [*islice(predicted, len(own))], self._stop, self._seg_token_id
            )
            for answer, own, draft in zip(answers, states, drafts, strict=True)
        ]


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
    prompt: EncodedPrompt
    draft: Ids
    ids: list[int] = field(default_factory=list)
    done: bool = False
    probability: float = 0.0  # of the newest token
    seg_states: list[Tensor] = field(default_factory=list)
    seg_probabilities: list[float] = field(default_factory=list)

    @property
    def prompt_length(self) -> int:
        return len(self.prompt.ids)

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

    def steps(self, states: Tensor) -> range:
        """The places in the answer of what the next states predict."""
        return range(len(self.ids), len(self.ids) + len(states))

    def verify(
        self,
        states: Tensor,
        draft: Ids,
        predicted: list[tuple[int, float]],
        stop: StopRule,
        seg_token_id: int,
    ) -> int:
        """Take the draft as far as the model agrees, and the model's own token behind that.

        `states` (1 + draft tokens fed, D): of the token before the draft, and of the draft's.
        `predicted`: the token behind each of them, and its probability. Returns how many draft
        tokens stay in the cache.
        """
        for index, (token, probability) in enumerate(predicted):
            self.add(token, probability, stop)
            agreed = index < len(draft) and token == draft[index]
            if self.done or not agreed or index + 1 == len(states):
                return index
            self.feed(states[index + 1], seg_token_id)
        raise AssertionError("there is a state for the token before the draft")

    def finish(self) -> GeneratedAnswer:
        like = self.prompt.embeddings
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
        self,
        states: Tensor,
        draft: Ids,
        predicted: list[tuple[int, float]],
        stop: StopRule,
        seg_token_id: int,
    ) -> int:
        self.state = states[0]
        return 0


class _Talk:
    """What is said about one picture."""

    def __init__(
        self, shared: int, read: KeyValues, answers: list[_Answer], heard: list[_Aside]
    ) -> None:
        """`shared` tokens, alike in all prompts, are in `read`."""
        self.shared = shared
        self.read = read
        self.answers = answers
        self.heard = heard
        self.cells = PackedCells(shared, [*answers, *heard][0].prompt.embeddings.device)

    @property
    def unfinished(self) -> list[_Answer]:
        return [answer for answer in self.answers if not answer.done]

    def sequel(self, parts: Iterable[tuple[int, int, int]]) -> Sequel:
        """The next cells: whose they are, the position of the first, and how many."""
        owned = [(row, start + i) for row, start, count in parts for i in range(count)]
        owners, positions = to_device(torch.tensor(owned).T.contiguous(), self.cells.device)
        return Sequel(positions, self.cells.append(owners, positions), self.read)
