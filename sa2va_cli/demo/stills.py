"""Single pictures between the videos, so that the segmenter forgets nothing about them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sa2va_cli.demo.learner import Learner, Measures
from sa2va_cli.demo.lessons import Lesson, make_lesson
from sa2va_cli.demo.speaking import draw, see, understand

IN_PLACE = 4  # pictures for each video


def make_stills(seeds: Sequence[int]) -> Lesson:
    """As many as take the time of the videos with these seeds."""
    first = IN_PLACE * seeds[0]
    return make_lesson(range(first, first + IN_PLACE * len(seeds)), 5, drawn=4)


def stills_loss(learner: Learner, batch: Lesson) -> tuple[Tensor, Measures]:
    """What language says stays as it is; the masks of it are learnt."""
    with torch.no_grad():
        understood = understand(learner, batch, see(learner, batch.pixel_values))
    loss, ious = draw(learner, batch, understood)
    return loss, {"still_iou": [iou for each in ious.values() for iou in each]}
