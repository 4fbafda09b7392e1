"""Right or wrong, task by task: one answer of the model against the truth about a picture."""

import re
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from sa2va_cli.demo.motion import Clip
from sa2va_cli.demo.phrases import full_name
from sa2va_cli.demo.questions import Exchange
from sa2va_cli.demo.scenes import Scene
from sa2va_cli.masks import mask_iou
from sa2va_cli.results import FrameMasks, Prediction

PHRASE = re.compile(r"<p>(.*?)</p>")
HIDDEN, BACK = 0.15, 0.3  # parts of a thing's first area: gone below, seen again above


@dataclass(slots=True)
class Scores:
    """Collects numbers between 0 and 1 by task; their means are the scores."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, task: str, *values: float) -> None:
        self.values[task] += values

    def mean(self, task: str) -> float:
        """NaN if the task never came up."""
        found = self.values.get(task, [])
        return float(np.mean(found)) if found else float("nan")

    def count(self, task: str) -> int:
        return len(self.values.get(task, []))


def score_exchange(scores: Scores, scene: Scene, asked: Exchange, said: Prediction) -> None:
    """One question about a picture."""
    if asked.kind == "caption":
        score_caption(scores, scene, said)
    elif asked.kind == "region":
        color_and_shape = set(scene.facts.words[asked.about[0]][2:])
        wanted = color_and_shape & plain_words(asked.answer)  # one of them if only that was asked
        scores.add("region", float(wanted <= plain_words(said.text)))
    elif asked.kind == "absent" and asked.phrase:  # asked to point at it; others are questions
        scores.add("absent refused", float(not said.frames))
    elif asked.targets:
        score_masks(scores, scene, asked, said)
    else:
        task = "count" if asked.kind == "count" else "question"
        right = float(said.text == f"{asked.answer}<|im_end|>")
        scores.add(task, right)
        scores.add(f"question: {asked.kind}", right)


def score_masks(scores: Scores, scene: Scene, asked: Exchange, said: Prediction) -> None:
    """IoU for each thing or group that was asked for; nothing said is 0."""
    ious = [
        mask_iou(predicted_mask(said, number), scene.union(things))
        if number < num_masks(said)
        else 0.0
        for number, things in enumerate(asked.targets)
    ]
    scores.add(asked.kind, *ious)
    task = {"superlative": "relations", "relation": "relations"}.get(asked.kind)
    task = task or ("attributes" if asked.kind == "attribute" else "plurals and several")
    scores.add(task, *ious)
    scores.add("falsely refused", float(not said.frames))
    if said.frames:
        scores.add(f"{asked.kind}, when answered", *ious)


def score_caption(scores: Scores, scene: Scene, said: Prediction) -> None:
    """Each phrase with its mask must be a thing of that name in that place."""
    phrases = [phrase.strip() for phrase in PHRASE.findall(said.text)]
    names = [full_name(words) for words in scene.facts.words]
    found = set()
    for number, phrase in enumerate(phrases):
        match = None
        if number < num_masks(said):
            mask = predicted_mask(said, number)
            match = next(
                (
                    index
                    for index, name in enumerate(names)
                    if name == phrase and mask_iou(mask, scene.masks[index]) >= 0.5
                ),
                None,
            )
        scores.add("caption phrases", float(match is not None))
        found.add(match)
    scores.add("caption: things named", *(float(index in found) for index in range(len(names))))


def score_video(scores: Scores, clip: Clip, index: int, frames: list[FrameMasks]) -> None:
    """One thing through all frames; `frames` is empty if the model refused."""
    areas = clip.masks[:, index].sum(axis=(1, 2))
    was_hidden = False
    for time, area in enumerate(areas):
        truth = clip.masks[time, index]
        overlap = mask_iou(frames[time].masks[0], truth) if frames else 0.0
        scores.add("video J", overlap)
        was_hidden = was_hidden or bool(area < HIDDEN * areas[0])
        if was_hidden and area > BACK * areas[0]:
            scores.add("video J after occlusion", overlap)
        if area == 0:
            scores.add("video: hidden, and nothing drawn", overlap)
        elif time < 5:
            scores.add("video: first five frames", overlap)
        else:
            scores.add("video: tracked frames", overlap)
    scores.add("video: refused", float(not frames))


def plain_words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text))


def num_masks(said: Prediction) -> int:
    return len(said.frames[0].masks) if said.frames else 0


def predicted_mask(said: Prediction, number: int) -> np.ndarray:
    """(H, W) bool: the mask of one [SEG]."""
    mask: np.ndarray = said.frames[0].masks[number]
    return mask
