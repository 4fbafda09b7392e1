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
        self,
        asked: Sequence[tuple[list[EncodedPrompt], list[EncodedPrompt]]],
        on_expected: Callable[[list[bool]], None] | None = None,
    ) -> list[tuple[list[GeneratedAnswer], Tensor]]:
        """Prompts and asides about each of several pictures: answers to the prompts, and the
        logits (asides, V) of the token after each aside.

        Each picture is read by itself. What is asked about it is read in a pass of its own, with
        drafts of the answers; on a GPU, which has to be told as much for one picture as for many,
        in one pass for all pictures. So is what is left to be written token by token.

        When the pictures are read, `on_expected` gets, for each, whether masks are likely.
        """
        groups = [self._begin(prompts, asides) for prompts, asides in asked]
        if on_expected is not None:
            on_expected([group.expects(self._seg_token_id) for group in groups])
        for some in self._at_once(groups):
            self._read_and_verify(some)
        while unfinished := [group for group in groups if group.unfinished]:
            self._step(unfinished)
        for some in self._at_once([group for group in groups if group.is_to_be_read_again]):
            self._read_again(some)
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
        self._read_and_verify([group])
        kept.ids = list(prompt.ids)
        on_ids(answer.ids)
        while not answer.done:
            fed = answer.ids[-1]
            self._step([group], drafting=False)
            kept.ids.append(fed)
            on_ids(answer.ids)
        return answer.finish()

    def _at_once(self, groups: Sequence[PromptGroup]) -> list[Sequence[PromptGroup]]:
        """On a processor one by one: there, an answer is the same bits in any company."""
        on_gpu = self._reader.language_model.device.type == "cuda"
        return [groups] if on_gpu and groups else [[group] for group in groups]

    def _begin(self, prompts: list[EncodedPrompt], asides: list[EncodedPrompt]) -> PromptGroup:
        """Read one picture."""
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
        return PromptGroup(shared, read, answers, [Aside(prompt) for prompt in asides])

    def _end(self, group: PromptGroup) -> tuple[list[GeneratedAnswer], Tensor]:
        for answer in group.answers:
            self.drafts.learn(answer.prompt.question, tuple(answer.ids))
        states = [aside.state for aside in group.asides if aside.state is not None]
        like = group.answers[0].prompt.embeddings
        ends = torch.stack(states) if states else like.new_zeros(0, like.shape[1])
        logits = self._greedy.lm_head(ends).float()
        return [answer.finish() for answer in group.answers], logits

    def _read_again(self, groups: Sequence[PromptGroup]) -> None:
        """The pass that would have been, had the drafts been right.

        Token by token, states come out the same but for rounding. Taking them from one pass over
        the finished answers makes them the same to the last bit, whatever was asked before.
        """
        again = [group.again() for group in groups]
        self._read_and_verify(again)
        for group, read in zip(groups, again, strict=True):
            pairs = zip(read.answers, group.answers, strict=True)
            group.answers = [new if new.ids == old.ids else old for new, old in pairs]

    def _read_and_verify(self, groups: Sequence[PromptGroup]) -> None:
        """One pass over what is each prompt's own, and over its draft behind it."""
        rows = [self._rows(group) for group in groups]
        chunks = [
            group.chunk((number, group.shared, len(row)) for number, row in enumerate(own))
            for group, own in zip(groups, rows, strict=True)
        ]
        flat = list(chain.from_iterable(rows))
        states = iter(self._reader(torch.cat(flat), *chunks).split([len(row) for row in flat]))
        answers, verified = [], []
        for group in groups:
            for answer, own in zip(group.answers, states, strict=False):
                answers.append(answer)
                # From the prompt's last token on, each state predicts a token of the answer.
                verified.append(own[len(answer.prompt) - group.shared - 1 :])
            for aside in group.asides:
                aside.state = next(states)[-1]
        self._verify(answers, verified)
        for group in groups:
            group.forget_drafts()

    def _rows(self, group: PromptGroup) -> list[Tensor]:
        """What is each prompt's own, (T, D) each."""
        rows = [
            torch.cat((one.prompt.embeddings[group.shared :], self._reader.embed(one.draft[:-1])))
            for one in group.answers
        ]
        return rows + [aside.prompt.embeddings[group.shared :] for aside in group.asides]

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
