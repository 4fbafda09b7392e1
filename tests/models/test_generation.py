"""Several questions at once say what each would say alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from sa2va_cli.models.sa2va.generation import EncodedPrompt, shared_length
from sa2va_cli.models.sa2va.stopping import StopRule
from sa2va_cli.results import Question

TEXTS = [
    "<image>Please segment the red circle.",
    "<image>What color is the sky?",
    "<image>Could you please give me a brief description of the image? Please respond with "
    "interleaved segmentation masks for the corresponding parts of the answer.",
    "<image>Please segment the red circle and the green triangle.",
]


@pytest.fixture(scope="module")
def picture():
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def alone(golden_model, picture):
    return {text: golden_model.answer_image(picture, [Question(text)])[0] for text in TEXTS}


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 1, 0)])
def test_questions_of_one_picture_answer_as_if_alone(golden_model, picture, alone, order):
    texts = [TEXTS[index] for index in order]
    together = golden_model.answer_image(picture, [Question(text) for text in texts])
    for text, prediction in zip(texts, together, strict=True):
        expected = alone[text]
        assert prediction.text == expected.text
        np.testing.assert_allclose(
            prediction.answer.seg_probabilities, expected.answer.seg_probabilities, atol=1e-5
        )
        assert len(prediction.frames) == len(expected.frames)
        for frame, wanted in zip(prediction.frames, expected.frames, strict=True):
            assert (frame.masks != wanted.masks).sum() <= frame.masks.size / 5000
            np.testing.assert_allclose(frame.scores, wanted.scores, atol=1e-4)


def test_a_picture_is_seen_once_for_all_questions(golden_model, picture, monkeypatch):
    seen = {"vision": 0, "sam": 0, "decoder": 0}
    num_tiles = len(golden_model.steps.views(picture).tiles)
    for module, name in (
        (golden_model.model.vision_encoder, "vision"),
        (golden_model.model.segmenter.image_encoder, "sam"),
        (golden_model.model.segmenter.mask_decoder, "decoder"),
    ):
        forward = module.forward

        def counting(*args, forward=forward, name=name, **kwargs):
            seen[name] += len(kwargs.get("pixel_values", [None]))
            return forward(*args, **kwargs)

        monkeypatch.setattr(module, "forward", counting)
    golden_model.answer_image(picture, [Question(text) for text in TEXTS])
    assert seen == {"vision": num_tiles, "sam": 1, "decoder": 1}


def test_region_questions_share_only_the_picture(golden_model, picture):
    """Two regions of as many cells have the same ids, but not the same embeddings."""
    left, right = np.zeros((1, 60, 90), bool), np.zeros((1, 60, 90), bool)
    left[:, :, :45], right[:, :, 45:] = True, True
    text = "<image>What is in region1 and region2?"
    questions = [Question(text, mask_prompts=left), Question(text, mask_prompts=right)]
    encoded = [
        golden_model.steps.questions.encode(question, seen_picture(golden_model, picture))
        for question in questions
    ]
    assert encoded[0].ids == encoded[1].ids
    shared = shared_length(encoded)
    torch.testing.assert_close(encoded[0].embeddings[:shared], encoded[1].embeddings[:shared])
    assert not torch.equal(encoded[0].embeddings, encoded[1].embeddings)
    together = golden_model.answer_image(picture, questions)
    assert [one.text for one in together] == [
        golden_model.answer_image(picture, [question])[0].text for question in questions
    ]


def seen_picture(model, picture):
    with torch.inference_mode():
        return model.steps.see_image(model.steps.views(picture))


def prompt(ids, shareable=100):
    return EncodedPrompt(ids, torch.zeros(len(ids), 4), shareable)


def test_prompts_share_their_common_beginning_but_keep_a_token_each():
    assert shared_length([prompt([1, 2, 3]), prompt([1, 2, 4, 5])]) == 2
    assert shared_length([prompt([1, 2, 3]), prompt([1, 2, 3])]) == 2
    assert shared_length([prompt([1, 2, 3], shareable=1), prompt([1, 2, 3])]) == 1
    assert shared_length([prompt([1, 2, 3])]) == 0
    assert shared_length([EncodedPrompt([1, 2, 3], torch.zeros(3, 4), 3, picture_end=2)]) == 2


def test_an_answer_stops_at_a_stop_word_however_it_is_spelled(golden_model):
    tokenizer = golden_model.tokenizer
    stop = StopRule(tokenizer, ("<|im_end|>", "<|endoftext|>"))
    assert stop(tokenizer.encode("Sure.<|im_end|>"))
    assert stop(tokenizer.encode("Sure.<|endoftext|>"))
    assert not stop(tokenizer.encode("Sure.<|im_end|"))
    spelled = [i for piece in "<|im_end|>" for i in tokenizer.encode(piece)]
    assert len(spelled) == 10 and stop(spelled)
    broken = [i for piece in "<|im_\n\n" + "\n" * 40 + "end|>" for i in tokenizer.encode(piece)]
    assert stop(broken)  # line breaks do not count
    assert stop(tokenizer.encode("Sure.<|im_end|>\n"))
    ending = StopRule(tokenizer, ("fin é",))  # its last letter takes two bytes, maybe two tokens
    assert ending(tokenizer.encode("la fin é"))
    assert not ending(tokenizer.encode("la fin é."))


def test_images_together_answer_as_if_alone(golden_model):
    rng = np.random.default_rng(3)
    sizes = [(60, 90), (50, 50), (30, 120), (64, 64), (48, 64), (90, 60)]
    pictures = [Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in sizes]
    asked = [
        (picture, [Question(text) for text in TEXTS[: 1 + index % 4]])
        for index, picture in enumerate(pictures)
    ]
    for together in (asked, asked[::-1], asked[1:3]):
        for (picture, questions), batched in zip(
            together, golden_model.answer_images(together), strict=True
        ):
            alone = golden_model.answer_image(picture, questions)
            assert [one.text for one in batched] == [one.text for one in alone]
            for one, other in zip(batched, alone, strict=True):
                assert len(one.frames) == len(other.frames)
                for frame, wanted in zip(one.frames, other.frames, strict=True):
                    union = (frame.masks | wanted.masks).sum()
                    assert (frame.masks & wanted.masks).sum() >= 0.999 * union
