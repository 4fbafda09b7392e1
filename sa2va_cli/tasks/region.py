"""Text about regions that are given as masks: one question for each region."""

import numpy as np

from sa2va_cli.config import Prompt
from sa2va_cli.errors import MediaError, UsageError
from sa2va_cli.results import Answer, MediaKind, Question
from sa2va_cli.tasks.reading import Reading, read_words

_DESCRIBE = (
    "Can you provide me with a detailed description of the region in the picture marked by region1?"
)


class RegionTask:
    """Each region is asked about alone, as region1: no answer depends on the other regions."""

    default_prompts: tuple[Prompt, ...] = (Prompt("region", _DESCRIBE),)
    needs_region = True

    def question(
        self, prompt: Prompt, kind: MediaKind, region: np.ndarray | None = None
    ) -> Question:
        """A prompt that does not name region1 is put as a question about it."""
        if kind == "video":
            raise MediaError(
                "Regions in videos are not supported.", hint="give images to --task region"
            )
        if region is None:
            raise UsageError("A region task without a region.", hint="give masks with --regions")
        text = prompt.text.strip()
        if "region1" not in text:
            text = f"{text} Answer about region1."
        if "<image>" not in text:
            text = f"<image>\n{text}"
        return Question(text, mask_prompts=region[np.newaxis])

    def read(self, prompt: Prompt, answer: Answer) -> Reading:
        return read_words(answer, prompt.text)
