"""One question from an opened medium to standard output and files."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer

from sa2va_cli.cli.answers import AnswerFolder
from sa2va_cli.cli.medium import Medium
from sa2va_cli.exporters.item_json import item_json
from sa2va_cli.results import Answer, MaskRecord
from sa2va_cli.tasks.reading import said

if TYPE_CHECKING:
    from sa2va_cli.models.sa2va.predictor import Sa2VA


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to the one question."""

    medium: Medium
    asked: str
    sent: str  # the same, with <image>
    answer: Answer
    masks: tuple[MaskRecord, ...]

    def write(self, as_json: bool, output: Path | None) -> None:
        """The answer to standard output, masks into a folder if there is one."""
        if output and self.masks:
            saved = AnswerFolder(output, self.medium).save(self.asked, self.answer, self.masks)
            for path in filter(None, (saved.overlay, saved.masks)):
                typer.echo(f"wrote {path}", err=True)
        if as_json:
            item = self.medium.answered(self.medium.name, self.asked, self.sent, self.answer)
            typer.echo(item_json(item, self.masks))
            return
        typer.echo(said(self.answer.text))
        if self.masks and not output:
            count = len(self.answer.seg_probabilities)
            masks = "1 mask" if count == 1 else f"{count} masks"
            typer.echo(f"{masks}: --output and --json give more than words", err=True)


def ask_run(model: "Sa2VA", medium: Medium, question: str, regions: np.ndarray | None) -> Answered:
    """Raises Sa2vaError."""
    conversation = medium.conversation(model)
    reply = conversation.answer(question, regions)
    masks = [record for frame in reply for record in medium.mask_records(frame)]
    sent = conversation.turns[-1].question
    return Answered(medium, question, sent, reply.answer, tuple(masks))
