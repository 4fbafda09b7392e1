"""Greedy answers to several questions: one prefill of what they share, one pass for the rest.

The answers are those of greedy decoding, one question at a time and token by token: exactly so
but for the rounding of passes of another shape (in bfloat16 two words can be that close). They come
faster because the picture goes through the language model once for all questions, because a
likely answer is appended as a draft and confirmed in the same pass that reads the question, and
because several pictures are talked about at a time.
"""

from collections.abc import Callable, Sequence
from itertools import chain, islice

import torch
from torch import Tensor

from sa2va_cli.models.sa2va.drafts import DraftBook
from sa2va_cli.models.sa2va.greedy import Greedy
from sa2va_cli.models.sa2va.kept import KeptCells
from sa2va_cli.models.sa2va.prompt_group import (
    Aside,
    EncodedPrompt,
    GeneratedAnswer,
    OpenAnswer,
    PromptGroup,
    shared_length,
)
from sa2va_cli.models.sa2va.reader import Chunk, Reader
from sa2va_cli.models.sa2va.stopping import StopRule


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
        groups = [self._begin(prompts, asides) for prompts, asides in asked]
        while unfinished := [group for group in groups if group.unfinished]:
            self._step(unfinished)
        return [self._end(group) for group in groups]

    def converse(
        self, prompt: EncodedPrompt, kept: KeptCells, on_ids: Callable[[list[int]], None]
    ) -> GeneratedAnswer:
        """Answer one prompt, of which what `kept` holds is not read again.

        `on_ids` gets the answer's ids after every step. An error at any point, Ctrl-C too, leaves
        `kept` fit for the next prompt.
        """
        shared = kept.keep(prompt.ids)
        answer = OpenAnswer(0, prompt, draft=())
        group = PromptGroup(shared, kept.cells, [answer], [])
        self._read_and_verify(group)
        kept.ids = list(prompt.ids)
        on_ids(answer.ids)
        while not answer.done:
            fed = answer.ids[-1]
            self._step([group], drafting=False)
            kept.ids.append(fed)
            on_ids(answer.ids)
        return answer.finish()

    def _begin(self, prompts: list[EncodedPrompt], asides: list[EncodedPrompt]) -> PromptGroup:
        """Read one picture, and in one more pass all that is asked about it."""
        shared = shared_length([*prompts, *asides])
        read = self._reader.new_cells()
        if shared:
            beginning = prompts[0].embeddings[:shared]
            places = torch.arange(shared, device=beginning.device)
            self._reader(beginning, Chunk(places, None, read, cache_only=True))
        answers = [
            OpenAnswer(row, prompt, self.drafts.propose(prompt.question))
            for row, prompt in enumerate(prompts)
        ]
        group = PromptGroup(shared, read, answers, [Aside(prompt) for prompt in asides])
        self._read_and_verify(group)
        return group

    def _end(self, group: PromptGroup) -> tuple[list[GeneratedAnswer], Tensor]:
        answers = group.answers
        if not all(answer.is_as_drafted for answer in answers):
            answers = self._replay(group)
        for answer in answers:
            self.drafts.learn(answer.prompt.question, tuple(answer.ids))
        states = [aside.state for aside in group.asides if aside.state is not None]
        like = answers[0].prompt.embeddings
        ends = torch.stack(states) if states else like.new_zeros(0, like.shape[1])
        logits = self._greedy.lm_head(ends).float()
        return [answer.finish() for answer in answers], logits

    def _replay(self, group: PromptGroup) -> list[OpenAnswer]:
        """The pass that would have been, had the drafts been right.

        Token by token, states come out the same but for rounding. Taking them from one pass over
        the finished answers makes them the same to the last bit, whatever was asked before.
        """
        answers = group.answers
        if not group.asides and not any(answer.has_masks for answer in answers):
            return answers  # only text, which rounding does not touch
        again = [OpenAnswer(answer.row, answer.prompt, tuple(answer.ids)) for answer in answers]
        group.read.cut(group.shared)
        self._read_and_verify(PromptGroup(group.shared, group.read, again, group.asides))
        return [new if new.ids == old.ids else old for new, old in zip(again, answers, strict=True)]

    def _read_and_verify(self, group: PromptGroup) -> None:
        """One pass over what is each prompt's own, and over its draft behind it."""
        shared, answers, asides = group.shared, group.answers, group.asides
        rows = [
            torch.cat((one.prompt.embeddings[shared:], self._reader.embed(one.draft[:-1])))
            for one in answers
        ]
        rows += [aside.prompt.embeddings[shared:] for aside in asides]
        chunk = group.chunk((number, shared, len(row)) for number, row in enumerate(rows))
        states = self._reader(torch.cat(rows), chunk).split([len(row) for row in rows])
        for aside, own in zip(asides, states[len(answers) :], strict=True):
            aside.state = own[-1]
        # From the prompt's last token on, each state predicts a token of the answer.
        firsts = [len(answer.prompt) - shared - 1 for answer in answers]
        self._verify(answers, [own[first:] for own, first in zip(states, firsts, strict=False)])
        group.forget_drafts()

    def _step(self, groups: Sequence[PromptGroup], *, drafting: bool = True) -> None:
        """Feed the newest token of each unfinished answer, and predict the next.

        When `drafting`, tokens that may follow are fed behind it, and kept as far as they do.
        """
        answers = [answer for group in groups for answer in group.unfinished]
        for answer in answers:
            answer.draft = self.drafts.follow(answer.ids) if drafting else ()
        fed = [answer.fed for answer in answers]
        embeddings = self._reader.embed(tuple(chain.from_iterable(fed)))
        chunks = [
            group.chunk((one.row, one.next_position, len(one.fed)) for one in group.unfinished)
            for group in groups
        ]
        states = self._reader(embeddings, *chunks).split([len(tokens) for tokens in fed])
        for answer, own in zip(answers, states, strict=True):
            answer.feed(own[0], self._seg_token_id)
        self._verify(answers, states)
        for group in groups:
            group.forget_drafts()

    def _verify(self, answers: Sequence[OpenAnswer], states: Sequence[Tensor]) -> None:
        """Each answer keeps of its draft what the model agrees with; the head runs once."""
        steps = [
            len(answer.ids) + i
            for answer, own in zip(answers, states, strict=True)
            for i in range(len(own))
        ]
        tokens, probabilities = self._greedy(torch.cat(list(states)), steps)
        predicted = zip(tokens, probabilities, strict=True)
        for answer, own in zip(answers, states, strict=True):
            few = list(islice(predicted, len(own)))
            answer.verify(own, few, self._stop, self._seg_token_id)
