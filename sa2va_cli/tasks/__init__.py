"""What to ask, and how to read the answer. To add a task: write a class, and name it in TASKS."""

from typing import Protocol

import numpy as np

from sa2va_cli.config import Prompt
from sa2va_cli.errors import unknown_name
from sa2va_cli.results import Answer, MediaKind, Question
from sa2va_cli.tasks.caption import CaptionTask
from sa2va_cli.tasks.question import AskTask
from sa2va_cli.tasks.reading import Reading
from sa2va_cli.tasks.region import RegionTask
from sa2va_cli.tasks.segment import SegmentTask


class Task(Protocol):
    """Turns a prompt into a question and an answer into what is kept. Knows no model."""

    default_prompts: tuple[Prompt, ...]  # when the user gives none; empty: prompts are needed
    needs_region: bool  # one question for each region of the picture, images only

    def question(
        self, prompt: Prompt, kind: MediaKind, region: np.ndarray | None = None
    ) -> Question:
        """`region` is (H, W) bool, for tasks that need one."""
        ...

    def read(self, prompt: Prompt, answer: Answer) -> Reading:
        """The text as people read it, and a label for each mask of the answer, in order."""
        ...


TASKS: dict[str, type[Task]] = {
    "segment": SegmentTask,
    "caption": CaptionTask,
    "ask": AskTask,
    "region": RegionTask,
}


def get_task(name: str) -> Task:
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]()
