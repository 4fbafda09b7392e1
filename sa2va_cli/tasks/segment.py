"""Referring segmentation: a phrase, a question or an instruction becomes masks."""

import re

import numpy as np

from sa2va_cli.config import Prompt
from sa2va_cli.results import Answer, MediaKind, Question
from sa2va_cli.tasks.reading import Reading, read_answer

_DETERMINER = r"(?:the|all|every|each|everything|both|this|that|these|those|any)\b"
_FULL_INSTRUCTION = re.compile(
    rf"segmentation mask"
    rf"|^(?:please|(?:can|could|would|will) you)\b.*\bsegment\b"
    rf"|^segment(?: out)? {_DETERMINER}",
    re.IGNORECASE | re.DOTALL,
)
_IMPERATIVE = re.compile(
    rf"^(?:please\b|(?:can|could|would|will) you\b"
    rf"|(?:find|locate|highlight|identify|outline|mark|mask|show(?: me)?) {_DETERMINER})",
    re.IGNORECASE,
)


class SegmentTask:
    """The sentences are those that the model was trained and evaluated with."""

    default_prompts: tuple[Prompt, ...] = ()
    needs_region = False

    def question(
        self, prompt: Prompt, kind: MediaKind, region: np.ndarray | None = None
    ) -> Question:
        """Sent as it is when it has <image>; otherwise put into the template that fits it.

        - a full instruction ("Please segment …", "Segment the …", "… segmentation mask …"):
          only <image> is put in front;
        - a question, or another request ("Find the …"): a request for a mask is added;
        - anything else is the phrase in "Please segment {phrase}".
        """
        if "<image>" in prompt.text:
            return Question(prompt.text)
        text = prompt.text.strip()
        if _FULL_INSTRUCTION.search(text):
            return Question(f"<image>\n{text}")
        if "?" in text or _IMPERATIVE.match(text):
            return Question(f"<image>\n {text} Please respond with a segmentation mask.")
        phrase = text.rstrip(".").rstrip()
        if kind == "video":
            return Question(f"<image>\nPlease segment {phrase}.")
        return Question(f"<image>\n Please segment {phrase} in this image.")

    def read(self, prompt: Prompt, answer: Answer) -> Reading:
        return read_answer(answer, prompt.text)
