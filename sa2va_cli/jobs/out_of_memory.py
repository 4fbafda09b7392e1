"""When the device's memory does not suffice: less at a time, before anything fails.

A batch of images is halved, down to one, and doubled again when that has gone well for a while. The
prompts of one item are then answered in turns; only if one prompt about one item is too much does
the item fail.
"""

import gc
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sa2va_cli.jobs.annotator import Annotator, BatchAnnotator
from sa2va_cli.results import Prediction, Question

PATIENCE = 32  # batches that fit before twice as many images are tried again
ERRORS = (MemoryError, RuntimeError)  # that may mean it; `is_out_of_memory` tells
# torch has a class of its own for what its pool on the device lacks. Not so for the processor's
# memory, for pinned memory and contexts, for what libraries take beside the pool, and for a driver
# that cannot be asked how much there was. cuDNN, when it lacks room to work in, finds "no engine".
SIGNS = re.compile(
    r"DefaultCPUAllocator|CUDA (?:driver )?error: out of memory"
    r"|CU(?:BLAS|DNN)_STATUS_\w*ALLOC\w*_FAILED|NVML_SUCCESS == "
    r"|unable to find an engine to execute|Triton Error \[CUDA\]: out of memory"
)


@dataclass(frozen=True, slots=True)
class TooLarge:
    """What could not be answered, however little was asked at a time."""

    reason: str


Asked = tuple[Any, Sequence[Question]]  # a picture as the model takes it, and what to ask
Outcome = Sequence[Prediction] | TooLarge


class Sparing:
    """Puts images to a model, as many at a time as fit."""

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self._fitting = sys.maxsize  # images at a time, as far as is known
        self._went_well = 0  # batches of so many, since one did not fit

    def answer(self, batch: Sequence[Asked]) -> list[Outcome]:
        """One outcome for each image, in order."""
        if not batch:
            return []
        now, later = batch[: self._fitting], batch[self._fitting :]
        try:
            outcomes = self._ask(now)
            self._grow(len(now))
            return [*outcomes, *self.answer(later)]
        except ERRORS as error:
            if not is_out_of_memory(error):
                raise
            reason = memory_reason(error)
        free_memory()
        if len(now) > 1:
            self._fitting, self._went_well = len(now) // 2, 0
            return self.answer(batch)
        return [self._in_turns(*now[0], reason), *self.answer(later)]

    def _grow(self, answered: int) -> None:
        """What did not fit may have been a few large pictures."""
        self._went_well += answered == self._fitting
        if self._went_well == PATIENCE:
            self._fitting, self._went_well = 2 * self._fitting, 0

    def _ask(self, batch: Sequence[Asked]) -> Sequence[Outcome]:
        if len(batch) > 1 and isinstance(self._annotator, BatchAnnotator):
            return self._annotator.answer_images(batch)
        return [self._annotator.answer_image(*asked) for asked in batch]

    def _in_turns(self, picture: Any, questions: Sequence[Question], reason: str) -> Outcome:
        half = len(questions) // 2
        if not half:
            return TooLarge(reason)
        parts = [self.answer([(picture, part)])[0] for part in (questions[:half], questions[half:])]
        predictions: list[Prediction] = []
        for part in parts:
            if isinstance(part, TooLarge):
                return part
            predictions += part
        return predictions


def is_out_of_memory(error: BaseException) -> bool:
    """torch is asked only if the model has loaded it."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return True
    return SIGNS.search(str(error)) is not None


def memory_reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"Out of memory: {text or 'none left on this machine'}"


def free_memory() -> None:
    """Outside of `except`: the error holds on to everything that was in use."""
    recording = sys.modules.get("sa2va_cli.models.sa2va.recording")
    if recording:
        recording.forget_recordings()
    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()
