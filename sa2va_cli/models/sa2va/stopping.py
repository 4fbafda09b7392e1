"""When an answer is over."""

from sa2va_cli.models.sa2va.tokenizer import UNFINISHED, Tokenizer


class StopRule:
    """The end token, or a stop word spelled in any tokens, line breaks not counted."""

    def __init__(self, tokenizer: Tokenizer, stop_words: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._stop_words = stop_words
        self._longest = max(len(word) for word in stop_words)
        self._last_letters = tuple({word[-1] for word in stop_words})
        self._may_end: dict[int, bool] = {}  # by token: whether a stop word can end with it

    def __call__(self, ids: list[int]) -> bool:
        if ids[-1] == self._tokenizer.eos_token_id:
            return True
        if ids[-1] not in self._may_end:  # reading the tail is a twentieth of a caption's time
            self._may_end[ids[-1]] = self._ends_a_stop_word(ids[-1])
        return self._may_end[ids[-1]] and self._tail(ids).endswith(self._stop_words)

    def _ends_a_stop_word(self, token: int) -> bool:
        """False only where the token's own last letter rules it out."""
        text = _without_breaks(self._tokenizer.decode([token]))
        unclear = not text or text.endswith(UNFINISHED)
        return unclear or text.endswith(self._last_letters)

    def _tail(self, ids: list[int]) -> str:
        """The end of the answer without line breaks, long enough to hold any stop word."""
        length = self._longest
        while True:
            text = _without_breaks(self._tokenizer.decode(ids[-length:]))
            if len(text) >= self._longest or length >= len(ids):
                return text
            length *= 2


def _without_breaks(text: str) -> str:
    return text.replace("\n", "").replace("\r", "")
