"""What the user asks a job for: prompts now, every option of a job once jobs exist."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """A sentence about the picture, and the category that its objects are counted under.

    Several prompts may share a category: `car` may be "the red car" and "the truck".
    """

    category: str
    text: str
