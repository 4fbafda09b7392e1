"""A conversation as a file: text for people, or JSON that `sa2va chat --resume` reads."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sa2va_cli.cli.readable import ReadableText
from sa2va_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One turn, and the files that belong to it."""

    question: str  # as it was sent, <image> and all
    answer: str  # special tokens kept
    regions: tuple[str, ...] = ()  # mask files that came with the question
    overlay: str | None = None
    masks: str | None = None  # a folder


def transcript_json(path: str, turns: Sequence[Exchanged]) -> str:
    data = {"path": path, "turns": [asdict(turn) for turn in turns]}
    return json.dumps(data, ensure_ascii=True, indent=2) + "\n"


def transcript_text(path: str, turns: Sequence[Exchanged]) -> str:
    lines = [path, ""]
    for turn in turns:
        readable = ReadableText()
        answer = readable.feed(turn.answer) + readable.finish()
        lines.append("> " + turn.question.replace("<image>", "").strip())
        lines += [f"  region: {region}" for region in turn.regions]
        lines += [answer.strip(), *([f"  {turn.overlay}"] if turn.overlay else []), ""]
    return "\n".join(lines)


def read_transcript(path: Path) -> list[Exchanged]:
    """Raises UsageError for anything that /save did not write."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return [_exchanged(turn) for turn in data["turns"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(
            f"{path} is no conversation: {error}.", hint="give a .json file that /save wrote"
        ) from None


def _exchanged(turn: dict[str, Any]) -> Exchanged:
    words = (turn["question"], turn["answer"], *turn.get("regions", ()))
    if not all(isinstance(word, str) for word in words):
        raise ValueError("questions and answers must be texts")
    return Exchanged(
        turn["question"],
        turn["answer"],
        tuple(turn.get("regions", ())),
        turn.get("overlay"),
        turn.get("masks"),
    )
