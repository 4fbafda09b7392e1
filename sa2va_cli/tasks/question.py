"""Questions and descriptions answered in words."""

import numpy as np

from sa2va_cli.config import Prompt
from sa2va_cli.results import Answer, MediaKind, Question
from sa2va_cli.tasks.reading import Reading, read_words


class AskTask:
    """The prompt is the question; masks that the model volunteers are kept."""

    default_prompts: tuple[Prompt, ...] = ()
    needs_region = False

    def question(
        self, prompt: Prompt, kind: MediaKind, region: np.ndarray | None = None
    ) -> Question:
        """Sent word for word; only <image> is put in front if the prompt has none."""
        text = prompt.text if "<image>" in prompt.text else f"<image>\n{prompt.text.strip()}"
        return Question(text)

    def read(self, prompt: Prompt, answer: Answer) -> Reading:
        return read_words(answer, prompt.text)
