"""The yes/no question about whether a thing is there at all."""

import re

from sa2va_cli.config import Prompt
from sa2va_cli.results import MediaKind

_REQUEST = re.compile(
    r"^(?:please |(?:can|could|would|will) you (?:please )?)*"
    r"(?:segment(?: out)?|find|locate|highlight|identify|outline|mark|mask|show(?: me)?) ",
    re.IGNORECASE,
)
_WHERE = re.compile(r" in (?:this|the) (?:image|picture|photo|video|clip)$", re.IGNORECASE)


def presence_question(prompt: Prompt, kind: MediaKind) -> str:
    """Is there {phrase} in this image? Its probability of yes becomes a score.

    Of an instruction ("Please segment the cat in this image.") the thing is asked about. A prompt
    that is itself a question names no thing; it is asked whether anything answers it. There is no
    "Answer yes or no": only how likely yes is against no counts, and plain words do better.
    """
    text = prompt.text.replace("<image>", "").strip()
    phrase = _WHERE.sub("", _REQUEST.sub("", text).rstrip(" .?!"))
    if "?" in text and not _REQUEST.match(text):
        phrase = f'anything that answers "{text}"'
    return f"<image>\nIs there {phrase} in this {kind}?"
