"""Grounded captions: a description whose phrases come with masks."""

import numpy as np

from sa2va_cli.config import Prompt
from sa2va_cli.results import Answer, MediaKind, Question
from sa2va_cli.tasks.reading import Reading, read_grounded

_INTERLEAVED = (
    "Please respond with interleaved segmentation masks for the corresponding parts of the answer."
)


class CaptionTask:
    """Without a prompt: the brief description that the model is evaluated with."""

    default_prompts: tuple[Prompt, ...] = (Prompt("caption", ""),)
    needs_region = False

    def question(
        self, prompt: Prompt, kind: MediaKind, region: np.ndarray | None = None
    ) -> Question:
        """A prompt without the request for interleaved masks gets it; <image>: sent as it is."""
        if "<image>" in prompt.text:
            return Question(prompt.text)
        text = prompt.text.strip()
        if not text:
            text = f"Could you please give me a brief description of the {kind}?"
        if "segmentation mask" not in text.lower():
            text = f"{text} {_INTERLEAVED}"
        return Question(f"<image>\n{text}")

    def read(self, prompt: Prompt, answer: Answer) -> Reading:
        return read_grounded(answer, prompt.text.strip() or prompt.category)
