"""The sentences that Sa2VA's users and its evaluation ask with, filled with our phrases."""

import random

EVALUATION_QUESTION = "\n Please segment {phrase} in this image."
SHORT_QUESTION = "Please segment {phrase}."
OTHER_SEGMENTATION_QUESTIONS = (
    "Can you segment {phrase} in this image?",
    "What is {phrase} in this image? Please respond with segmentation mask.",
    "What is {phrase} in this image? Please output segmentation mask.",
    "Please identify and segment {phrase} in this image.",
    "Could you provide a segmentation mask for {phrase} in this image?",
    "Where is {phrase} in this picture? Please respond with a segmentation mask.",
    "Please segment {phrase} in this video.",
    "Segment {phrase}.",
)
CAPTION_QUESTIONS = (
    "Could you please give me a brief description of the image? Please respond with interleaved "
    "segmentation masks for the corresponding parts of the answer.",
    "Could you please give me a detailed description of the image? Please respond with "
    "interleaved segmentation masks for the corresponding parts of the answer.",
    "Please describe the image with interleaved segmentation masks.",
)
DESCRIPTION_QUESTIONS = (
    "Could you please give me a brief description of the image?",
    "Please describe the image.",
    "Please describe the image in detail.",
    "What is in this image?",
)
REGION_QUESTIONS = (
    "Please describe the region {region} in the image in detail.",
    "Can you provide me with a detailed description of the region in the picture marked by "
    "{region}?",
    "What can you tell me about the region indicated by {region} in the image?",
    "What is {region}?",
)


def segmentation_question(rng: random.Random, phrase: str) -> str:
    """Mostly the two sentences that the evaluations of Sa2VA use, sometimes another."""
    style = rng.random()
    if style < 0.1 and phrase.startswith("the "):
        phrase = rng.choice((phrase[4:], phrase[4:].capitalize()))
    if style < 0.5:
        return EVALUATION_QUESTION.format(phrase=phrase)
    if style < 0.75:
        return rng.choice(("", "\n")) + SHORT_QUESTION.format(phrase=phrase)
    return rng.choice(("", "\n", "\n ")) + rng.choice(OTHER_SEGMENTATION_QUESTIONS).format(
        phrase=phrase
    )


def enumerate_words(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
