"""When an answer is over."""

from sa2va_cli.models.sa2va.tokenizer import Tokenizer


class StopRule:
    """The end token, or a stop word spelled in any tokens, line breaks not counted."""

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
