"""Greedy answers for several questions that share a beginning: one prefill, one batch.

Text and [SEG] states equal those of answering the questions one by one; the shared beginning
(the picture) goes through the language model once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen2ForCausalLM

from sa2va_cli.models.sa2va.tokenizer import Tokenizer

MAX_NEW_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A question as the language model gets it."""

    ids: list[int]
    embeddings: Tensor  # (T, D), visual embeddings in their places
    shareable: int  # the first so many tokens are alike wherever their ids are


@dataclass(frozen=True, slots=True)
class GeneratedAnswer:
    """What came after one prompt."""

    ids: list[int]  # the stop token included
    seg_states: Tensor  # (N, D): final states where a [SEG] was the input
    seg_probabilities: tuple[float, ...]  # (N,) of those same [SEG], when they were predicted


class StopRule:
    """When an answer is over: the end token, or a stop word spelled in any tokens."""

    def __init__(self, tokenizer: Tokenizer, stop_words: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._stop_words = stop_words
        self._longest = max(len(word) for word in stop_words)

    def __call__(self, ids: list[int]) -> bool:
        if ids[-1] == self._tokenizer.eos_token_id:
            return True
        return self._tail(ids).endswith(self._stop_words)

    def _tail(self, ids: list[int]) -> str:
        """The end of the answer without line breaks, long enough to hold any stop word."""
        length = self._longest
        while True:
            text = self._tokenizer.decode(ids[-length:]).replace("\n", "").replace("\r", "")
            if len(text) >= self._longest or length >= len(ids):
                return text
            length *= 2


class Generator:
    """Greedy decoding with a key-value cache."""

    def __init__(self, language_model: Qwen2ForCausalLM, stop: StopRule, seg_token_id: int) -> None:
        self._language_model = language_model
        self._stop = stop
        self._seg_token_id = seg_token_id

    def generate(self, prompts: list[EncodedPrompt]) -> list[GeneratedAnswer]:
        """Answer all prompts as one batch behind their common beginning."""
        shared = shared_length(prompts)
        cache = DynamicCache(config=self._language_model.config)
        if shared:
            self._forward(prompts[0].embeddings[None, :shared], cache, None, None)
            cache.batch_repeat_interleave(len(prompts))
        batch = _Batch(prompts, shared)
        states = self._forward(batch.embeddings, cache, batch.attended, batch.positions)
        rows = torch.arange(len(prompts), device=states.device)
        last_states = states[rows, batch.lengths - 1]  # (B, D)
        return self._decode(last_states, cache, batch)

    def _decode(
        self, last_states: Tensor, cache: DynamicCache, batch: "_Batch"
    ) -> list[GeneratedAnswer]:
        answers = [_Growing() for _ in range(len(last_states))]
        for step in range(MAX_NEW_TOKENS):
            logits = self._language_model.lm_head(last_states).float()  # (B, V)
            ids = logits.argmax(dim=-1)
            probabilities = logits.softmax(dim=-1).gather(1, ids[:, None])[:, 0]
            for answer, token, probability in zip(
                answers, ids.tolist(), probabilities.tolist(), strict=True
            ):
                answer.add(token, probability, self._stop)
            if all(answer.done for answer in answers) or step == MAX_NEW_TOKENS - 1:
                break
            batch.grow()
            embeddings = self._language_model.model.embed_tokens(ids)[:, None]
            states = self._forward(embeddings, cache, batch.attended, batch.positions)
            last_states = states[:, 0]
            for answer, state in zip(answers, last_states, strict=True):
                answer.feed(state, self._seg_token_id)
        return [answer.finish(last_states[0]) for answer in answers]

    def _forward(
        self,
        embeddings: Tensor,
        cache: DynamicCache,
        attended: Tensor | None,
        positions: Tensor | None,
    ) -> Tensor:
        """(B, T, D) -> final, normed states (B, T, D); the cache grows by T."""
        return self._language_model.model(
            inputs_embeds=embeddings,
            past_key_values=cache,
            attention_mask=attended,
            position_ids=positions,
            use_cache=True,
        ).last_hidden_state


def shared_length(prompts: list[EncodedPrompt]) -> int:
    """How many tokens several prompts begin with; each keeps at least one of its own."""
    if len(prompts) == 1:
        return 0  # nobody to share with: one pass over the whole prompt
    limit = min(min(prompt.shareable, len(prompt.ids) - 1) for prompt in prompts)
    first = prompts[0].ids
    for index in range(limit):
        if any(prompt.ids[index] != first[index] for prompt in prompts):
            return index
    return limit


class _Batch:
    """The prompts' own parts, padded on the right, and which cells of the cache each may see."""

    def __init__(self, prompts: list[EncodedPrompt], shared: int) -> None:
        own = [prompt.embeddings[shared:] for prompt in prompts]
        device = own[0].device
        self.lengths = torch.tensor([len(embeddings) for embeddings in own], device=device)
        self.embeddings = torch.nn.utils.rnn.pad_sequence(own, batch_first=True)  # (B, S, D)
        width = self.embeddings.shape[1]
        real = torch.arange(width, device=device) < self.lengths[:, None]
        prefix = torch.ones(len(own), shared, dtype=torch.bool, device=device)
        self.attended: Tensor | None = torch.cat((prefix, real), dim=1)  # (B, P + S)
        if bool(real.all()):
            self.attended = None  # nothing is padded: plain causal attention, the faster kernel
        self.positions = torch.arange(shared, shared + width, device=device).expand(len(own), -1)
        self._next = shared + self.lengths[:, None]  # (B, 1)

    def grow(self) -> None:
        """One more token for every prompt."""
        self.positions = self._next
        self._next = self._next + 1
        if self.attended is not None:
            one = self.attended.new_ones(len(self.attended), 1)
            self.attended = torch.cat((self.attended, one), dim=1)


class _Growing:
    """One answer while it is written."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.done = False
        self._probability = 0.0
        self._seg_states: list[Tensor] = []
        self._seg_probabilities: list[float] = []

    def add(self, token: int, probability: float, stop: StopRule) -> None:
        if not self.done:
            self.ids.append(token)
            self._probability = probability
            self.done = stop(self.ids)

    def feed(self, state: Tensor, seg_token_id: int) -> None:
        """`state` belongs to the newest token as input; a finished answer feeds nothing more."""
        if not self.done and self.ids[-1] == seg_token_id:
            self._seg_states.append(state)
            self._seg_probabilities.append(self._probability)

    def finish(self, like: Tensor) -> GeneratedAnswer:
        states = torch.stack(self._seg_states) if self._seg_states else like.new_zeros(0, len(like))
        return GeneratedAnswer(self.ids, states, tuple(self._seg_probabilities))
