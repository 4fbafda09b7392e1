"""A raw answer as people read it, while it is written."""

import re

# "a <p> cat </p> [SEG]" is "a cat [1]": of two spaces around a tag the first one goes with it.
_SPECIAL = re.compile(r" <[^<>]*>(?= )|<[^<>]*>|\[SEG\]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNFINISHED = re.compile(r"(?: ?<[^<>\n]{0,24}>?| |\[(?:S|SE|SEG)?)\Z")


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
        shown, at = "", 0
        for match in _SPECIAL.finditer(text):  # not in the part alone: it looks at what follows
            if match.start() < end:
                shown += text[at : match.start()] + self._shown(match)
                at = match.end()
        return shown + text[at:end]

    def finish(self) -> str:
        """The rest; nothing more comes."""
        rest, self._waiting = self._waiting, ""
        return _SPECIAL.sub(self._shown, rest)

    def _shown(self, match: re.Match[str]) -> str:
        if match[0] != "[SEG]":
            return ""
        self._objects += 1
        return f"[{self._objects}]"
