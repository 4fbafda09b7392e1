"""The yes/no question about whether a thing is there at all."""

from sa2va_cli.config import Prompt
from sa2va_cli.results import MediaKind, Question


def presence_question(prompt: Prompt, kind: MediaKind) -> Question:
    """Is there {phrase} in this image? Its probability of yes becomes a score."""
    phrase = prompt.text.replace("<image>", "").strip().rstrip(".").rstrip()
    return Question(f"<image>\nIs there {phrase} in this {kind}? Please answer yes or no.")
