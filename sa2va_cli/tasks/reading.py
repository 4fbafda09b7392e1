"""Answers of the model, special tokens and all, as text and labels that people read."""

import re
from dataclasses import dataclass, replace

from sa2va_cli.results import Answer

SEG_TOKEN = "[SEG]"


@dataclass(frozen=True, slots=True)
class Reading:
    """What is kept of an answer."""

    text: str  # without special tokens
    labels: tuple[str, ...]  # one for each mask of the answer, in order


def clean_text(raw_text: str) -> str:
    """Delete everything in angle brackets and [SEG], then squeeze white space.

    Captions are compared with others' in this form.
    """
    return " ".join(re.sub(r"<[^<>]*>", "", raw_text.replace(SEG_TOKEN, "")).split())


def said(raw_text: str) -> str:
    """The same as a sentence: "Sure, [SEG]." is "Sure.", and not "Sure, ."."""
    return re.sub(r",?\s+([.!?])(?=\s|$)", r"\1", clean_text(raw_text))


def read_answer(answer: Answer, label: str) -> Reading:
    """All masks carry one label: the prompt."""
    return Reading(said(answer.text), (label,) * len(answer.seg_probabilities))


def read_grounded(answer: Answer, label: str) -> Reading:
    """The i-th mask carries the i-th <p>phrase</p>; masks beyond the phrases carry `label`."""
    phrases = [clean_text(phrase) for phrase in re.findall(r"<p>(.*?)</p>", answer.text, re.S)]
    count = len(answer.seg_probabilities)
    labels = [phrase or label for phrase in phrases] + [label] * count
    return Reading(clean_text(answer.text), tuple(labels[:count]))


def read_words(answer: Answer, label: str) -> Reading:
    """As `read_grounded`, the text as a sentence."""
    return replace(read_grounded(answer, label), text=said(answer.text))
