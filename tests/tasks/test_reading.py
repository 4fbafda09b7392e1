import pytest

from sa2va_cli.config import Prompt
from sa2va_cli.results import Answer
from sa2va_cli.tasks import get_task
from sa2va_cli.tasks.reading import clean_text, said

DOG = Prompt("animal", "the dog")


def read(task, text, masks, prompt=DOG):
    return get_task(task).read(prompt, Answer(text, (0.9,) * masks))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Sure, [SEG].<|im_end|>", "Sure, ."),
        ("<p> A cat </p> [SEG]  on\n<p>a mat</p>[SEG].<|im_end|>", "A cat on a mat."),
        ("Sure,  [SEG] .<|im_end|>", "Sure, ."),
        ("3 < 4 and 5 > 2", "3 2"),
        ("1 < 2", "1 < 2"),
        ("", ""),
    ],
)
def test_special_tokens_go_and_white_space_is_squeezed(raw, clean):
    assert clean_text(raw) == clean


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("Sure, [SEG].<|im_end|>", "Sure."),
        ("It is [SEG] . Anything else?", "It is. Anything else?"),
        ("About 3.5 m, he said.", "About 3.5 m, he said."),
    ],
)
def test_answers_read_as_sentences(raw, sentence):
    assert said(raw) == sentence
    assert read("segment", raw, 0).text == sentence


@pytest.mark.parametrize(("text", "masks"), [("Sure, [SEG].", 1), ("[SEG] [SEG]", 2), ("No.", 0)])
def test_each_mask_of_a_segmentation_answers_the_prompt(text, masks):
    assert read("segment", text, masks).labels == ("the dog",) * masks


@pytest.mark.parametrize(
    ("text", "masks", "labels"),
    [
        ("<p> A dog </p> [SEG] with <p> a\nball </p> [SEG].", 2, ("A dog", "a ball")),
        ("<p>A dog</p> and <p>a ball</p> [SEG].", 1, ("A dog",)),
        ("<p>A dog</p> [SEG] and [SEG] [SEG]", 3, ("A dog", "the dog", "the dog")),
        ("[SEG]", 1, ("the dog",)),
        ("<p></p> [SEG]", 1, ("the dog",)),
        ("<p>unclosed [SEG]", 1, ("the dog",)),
        ("<p>A dog</p> [SEG] <p>cut off</p> [SEG]", 1, ("A dog",)),
        ("A dog.", 0, ()),
    ],
)
def test_the_phrases_of_a_caption_belong_to_its_masks_in_order(text, masks, labels):
    assert read("caption", text, masks).labels == labels


def test_a_caption_without_a_prompt_falls_back_on_its_category():
    assert read("caption", "[SEG]", 1, Prompt("caption", "")).labels == ("caption",)


def test_answers_in_words_keep_volunteered_masks():
    assert read("ask", "It is [SEG].<|im_end|>", 1).labels == ("the dog",)
    for task in ("ask", "region"):
        assert read(task, "Sure, [SEG].<|im_end|>", 1).text == "Sure."
    assert read("region", "A brown dog.<|im_end|>", 0).text == "A brown dog."
