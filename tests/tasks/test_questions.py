import numpy as np
import pytest

from sa2va_cli.config import Prompt
from sa2va_cli.errors import MediaError, UsageError
from sa2va_cli.tasks import TASKS, get_task
from sa2va_cli.tasks.presence import presence_question


def ask(task, text, kind="image"):
    return get_task(task).question(Prompt("thing", text), kind).text


def test_an_unknown_task_names_the_known_ones():
    with pytest.raises(UsageError, match="choose one of ask, caption, region, segment"):
        get_task("detect")


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("image", "the red car", "<image>\n Please segment the red car in this image."),
        ("image", " the red car. ", "<image>\n Please segment the red car in this image."),
        ("video", "the red car", "<image>\nPlease segment the red car."),
        (
            "video",
            "which dog runs first?",
            "<image>\n which dog runs first? Please respond with a segmentation mask.",
        ),
        (
            "image",
            "what can be eaten?",
            "<image>\n what can be eaten? Please respond with a segmentation mask.",
        ),
        (
            "image",
            "Find the red car.",
            "<image>\n Find the red car. Please respond with a segmentation mask.",
        ),
    ],
)
def test_phrases_and_questions_get_the_sentences_of_the_evaluation(kind, text, expected):
    assert ask("segment", text, kind) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Please segment the cat in the image.",
        "Can you segment every person?",
        "Could you please find and segment the tallest tree?",
        "segment the sky",
        "Where is the exit? Please respond with a segmentation mask.",
        "Output the segmentation masks of all cups",
    ],
)
@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_full_instruction_is_sent_as_it_is(kind, text):
    assert ask("segment", text, kind) == f"<image>\n{text}"


@pytest.mark.parametrize(
    "phrase", ["segment of an orange", "mask of a clown", "find of the year", "locate sign"]
)
def test_phrases_that_begin_like_an_instruction_are_phrases(phrase):
    assert ask("segment", phrase) == f"<image>\n Please segment {phrase} in this image."


@pytest.mark.parametrize("task", ["segment", "caption", "ask"])
def test_a_prompt_with_the_image_token_is_sent_letter_for_letter(task):
    assert ask(task, " Look: <image>\n Segment it ") == " Look: <image>\n Segment it "


def test_captions_ask_for_interleaved_masks():
    request = (
        "Please respond with interleaved segmentation masks for the corresponding parts of the "
        "answer."
    )
    brief = "Could you please give me a brief description of the"
    (default,) = get_task("caption").default_prompts
    question = get_task("caption").question
    assert question(default, "image").text == f"<image>\n{brief} image? {request}"
    assert question(default, "video").text == f"<image>\n{brief} video? {request}"
    assert ask("caption", "Describe the people.") == f"<image>\nDescribe the people. {request}"
    full = "Describe it. Please output with interleaved segmentation masks."
    assert ask("caption", full) == f"<image>\n{full}"


def test_questions_are_sent_word_for_word():
    assert ask("ask", " How many dogs? ", "video") == "<image>\nHow many dogs?"


def test_a_region_is_asked_about_alone_as_region1():
    task = get_task("region")
    region = np.eye(4, dtype=bool)
    question = task.question(task.default_prompts[0], "image", region)
    assert question.text == (
        "<image>\nCan you provide me with a detailed description of the region in the picture "
        "marked by region1?"
    )
    np.testing.assert_array_equal(question.mask_prompts, region[np.newaxis])
    own = task.question(Prompt("colour", "What colour is it?"), "image", region)
    assert own.text == "<image>\nWhat colour is it? Answer about region1."


def test_regions_need_an_image_and_a_mask():
    task = get_task("region")
    with pytest.raises(MediaError, match="videos"):
        task.question(task.default_prompts[0], "video", np.eye(4, dtype=bool))
    with pytest.raises(UsageError, match="without a region"):
        task.question(task.default_prompts[0], "image")


def test_only_the_region_task_needs_regions_and_only_some_tasks_need_prompts():
    assert [name for name, task in TASKS.items() if task.needs_region] == ["region"]
    assert [name for name, task in TASKS.items() if not task.default_prompts] == ["segment", "ask"]


@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize(
    ("prompt", "thing"),
    [
        ("<image> the red car.", "the red car"),
        ("a dog in the window", "a dog in the window"),
        ("<image>\n Please segment the red car in this image.", "the red car"),
        ("Can you segment out every dog?", "every dog"),
        ("Find the cat.", "the cat"),
        ("marked cars", "marked cars"),
        ("what can be eaten?", 'anything that answers "what can be eaten?"'),
    ],
)
def test_presence_is_a_yes_or_no_question(kind, prompt, thing):
    question = presence_question(Prompt("thing", prompt), kind)
    assert question == f"<image>\nIs there {thing} in this {kind}?"
