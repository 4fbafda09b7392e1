"""A raw answer as people read it, while it is written."""

import re

_SPECIAL = re.compile(r"<[^<>]*>|\[SEG\]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNFINISHED = re.compile(r"(?:<[^<>\n]{0,24}|\[(?:S|SE|SEG)?)\Z")


class ReadableText:
    """Drops everything in angle brackets; [SEG] becomes the number of its object: [1].

    What may be the beginning of such a thing waits for its end. Control characters, which would
    be orders to the terminal, are dropped too.
    """

    def __init__(self) -> None:
        self._waiting = ""
        self._objects = 0

    def feed(self, piece: str) -> str:
        """What of the text so far can be shown."""
        text = self._waiting + _CONTROL.sub("", piece)
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self._waiting = text[end:]
        return _SPECIAL.sub(self._shown, text[:end])

    def finish(self) -> str:
        """The rest; nothing more comes."""
        rest, self._waiting = self._waiting, ""
        return rest

    def _shown(self, match: re.Match[str]) -> str:
        if match[0] != "[SEG]":
            return ""
        self._objects += 1
        return f"[{self._objects}]"
