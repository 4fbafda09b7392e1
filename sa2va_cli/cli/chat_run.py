"""A chat from an opened medium to its end: load the model, open the folder, let people talk."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from sa2va_cli.cli.answers import AnswerFolder
from sa2va_cli.cli.history import history_path, line_history
from sa2va_cli.cli.load import load_model
from sa2va_cli.cli.medium import Medium
from sa2va_cli.cli.transcript import Exchanged
from sa2va_cli.config import JobConfig
from sa2va_cli.errors import UsageError


def chat_run(
    config: JobConfig,
    device: str,
    medium: Medium,
    output: Path | None,
    earlier: Sequence[Exchanged],
) -> None:
    """Raises Sa2vaError for what ends it before it begins."""
    if sys.stdin is None:  # closed by whoever started us
        raise UsageError(
            "Standard input is closed: nobody can type.", hint="sa2va ask asks one question"
        )
    model = load_model(config, device)
    from sa2va_cli.cli.session import ChatSession  # torch

    folder = AnswerFolder(output or Path(f"{Path(medium.path).name}-chat"), medium)
    session = ChatSession(medium.conversation(model), medium, folder)
    session.recall(earlier)
    typed = sys.stdin.isatty()
    with line_history(history_path(os.environ)) if typed else nullcontext():
        session.run()
