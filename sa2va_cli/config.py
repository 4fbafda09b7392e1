"""What the user asks a job for: prompts now, every option of a job once jobs exist."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """A sentence about the picture, and the category that its objects are counted under.

    Several prompts may share a category: `car` may be "the red car" and "the truck".
    """

    category: str
    text: str


def parse_prompt(text: str) -> Prompt:
    """ "car=the red car" -> category and sentence; without "=" the sentence is its own category.

    Only the first "=" counts; begin with "=" to write a sentence that holds one.
    """
    category, equals, sentence = text.partition("=")
    if not equals:
        return Prompt(text.strip(), text.strip())
    sentence = sentence.strip()
    return Prompt(category.strip() or sentence, sentence)
