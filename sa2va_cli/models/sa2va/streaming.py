"""Text while it is written: tokens in, whole characters out."""

from collections.abc import Callable

from sa2va_cli.models.sa2va.tokenizer import UNFINISHED, Tokenizer


class TextStream:
    """Hands on an answer piece by piece; the pieces joined are the decoded ids.

    A character may be spread over several tokens: its bytes wait until it is whole.
    """

    def __init__(self, tokenizer: Tokenizer, on_text: Callable[[str], None]) -> None:
        self._tokenizer = tokenizer
        self._on_text = on_text
        self._told = 0  # so many ids have been handed on

    def update(self, ids: list[int]) -> None:
        """`ids` are those of the answer so far."""
        text = self._tokenizer.decode(ids[self._told :])
        if text and not text.endswith(UNFINISHED):
            self._told = len(ids)
            self._on_text(text)

    def finish(self, ids: list[int]) -> None:
        """The answer is over: what still waits is handed on as it is."""
        if text := self._tokenizer.decode(ids[self._told :]):
            self._told = len(ids)
            self._on_text(text)
