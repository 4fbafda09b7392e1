"""From what the model says to what is stored: objects are numbered, masks become run lengths."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sa2va_cli.config import Prompt
from sa2va_cli.masks import encode_rle
from sa2va_cli.results import (
    Answer,
    AnswerRecord,
    FrameMasks,
    MaskRecord,
    MediaKind,
    ObjectRecord,
    Question,
)
from sa2va_cli.tasks import Task
from sa2va_cli.tasks.presence import presence_question
from sa2va_cli.tasks.region_source import Region


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt put to one item, and the question made of it."""

    prompt: Prompt
    question: Question


def exchanges(
    task: Task, prompts: Sequence[Prompt], kind: MediaKind, regions: Sequence[Region]
) -> list[Exchange]:
    """The questions of one item: one for each prompt, or for each prompt and region.

    A region's name becomes part of the category, which tells whose answer it is.
    """
    if not task.needs_region:
        return [Exchange(prompt, task.question(prompt, kind)) for prompt in prompts]
    return [
        Exchange(
            Prompt(f"{prompt.category} {region.name}", prompt.text),
            task.question(prompt, kind, region.mask),
        )
        for prompt in prompts
        for region in regions
    ]


def with_presence(asked: Sequence[Exchange], kind: MediaKind) -> list[Exchange]:
    """The same, each with the question whether what its prompt names is there at all."""
    return [
        Exchange(one.prompt, replace(one.question, presence=presence_question(one.prompt, kind)))
        for one in asked
    ]


def read_answers(
    task: Task, asked: Sequence[Exchange], answers: Sequence[Answer]
) -> tuple[tuple[AnswerRecord, ...], tuple[ObjectRecord, ...]]:
    """What is stored of the answers; objects count up from 1 over all of them."""
    answer_records: list[AnswerRecord] = []
    objects: list[ObjectRecord] = []
    for idx, (exchange, answer) in enumerate(zip(asked, answers, strict=True)):
        prompt, reading = exchange.prompt, task.read(exchange.prompt, answer)
        answer_records.append(
            AnswerRecord(
                prompt_idx=idx,
                category=prompt.category,
                prompt=prompt.text,
                question=exchange.question.text,
                text=reading.text,
                raw_text=answer.text,
                presence=answer.presence,
            )
        )
        for label, probability in zip(reading.labels, answer.seg_probabilities, strict=True):
            obj_id = len(objects) + 1
            objects.append(ObjectRecord(obj_id, idx, prompt.category, label, float(probability)))
    return tuple(answer_records), tuple(objects)


def mask_records(frame: FrameMasks, first_obj_id: int = 1) -> list[MaskRecord]:
    """One record for each object of a frame, with compressed masks."""
    return numbered_records(frame, range(first_obj_id, first_obj_id + len(frame.masks)))


def numbered_records(frame: FrameMasks, obj_ids: Sequence[int]) -> list[MaskRecord]:
    """The same for objects that have their numbers."""
    return [
        MaskRecord(frame.frame_idx, obj_id, encode_rle(mask), float(score), float(object_score))
        for obj_id, mask, score, object_score in zip(
            obj_ids, frame.masks, frame.scores, frame.object_scores, strict=True
        )
    ]
