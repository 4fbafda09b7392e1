"""Several questions at once say what each would say alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from sa2va_cli import Sa2VA
from sa2va_cli.models.sa2va import greedy
from sa2va_cli.models.sa2va.conversation import encode_prompt
from sa2va_cli.models.sa2va.prompt_group import EncodedPrompt, shared_length
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


def test_the_head_is_read_once_a_pass_for_all_answers(golden_model, picture, monkeypatch):
    model = Sa2VA(golden_model.model, golden_model.tokenizer)  # that has learned nothing yet
    head, reader = model.model.language_model.lm_head, model.model.reader
    passes = {"head": 0, "reader": 0}
    hooks = [
        module.register_forward_hook(lambda *_, name=name: passes.update({name: passes[name] + 1}))
        for module, name in ((head, "head"), (reader, "reader"))
    ]
    asked = [Question(text) for text in TEXTS]
    many = model.answer_image(picture, asked)
    for hook in hooks:
        hook.remove()
    # One pass reads the picture alone, which predicts nothing; in the end the head is asked about
    # asides, of which there are none.
    assert 2 < passes["head"] == passes["reader"]
    monkeypatch.setattr(greedy, "HEAD_ROWS", 2)
    few = Sa2VA(golden_model.model, golden_model.tokenizer).answer_image(picture, asked)
    assert [one.text for one in few] == [one.text for one in many]


@pytest.mark.parametrize("text", ["{0}", "a{0}b{1}", "\n{0}\n{1} {0}<img>", "no picture", "{1}{0}"])
def test_context_tokens_in_a_row_are_encoded_as_one_after_the_other(golden_model, text):
    spelled = text.format("<IMG_CONTEXT>" * 300, "<IMG_CONTEXT>")
    whole = golden_model.tokenizer.encode(spelled)
    count = whole.count(golden_model.tokenizer.context_token_id)
    assert count == spelled.count("<IMG_CONTEXT>")
    assert encode_prompt(golden_model.tokenizer, spelled, count) == whole


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


def test_answers_about_several_images_are_written_in_the_same_passes(golden_model, monkeypatch):
    rng = np.random.default_rng(6)
    pictures = [rng.integers(0, 255, (50, 50, 3), dtype=np.uint8) for _ in range(4)]
    asked = [(picture, [Question(TEXTS[2])]) for picture in pictures]

    def passes(batch):
        """Of a model that has learned nothing yet."""
        model, counts = Sa2VA(golden_model.model, golden_model.tokenizer), []
        forward = model.model.reader.forward

        def counting(embeddings, *chunks):
            counts.append(len(chunks))
            return forward(embeddings, *chunks)

        with monkeypatch.context() as patch:
            patch.setattr(model.model.reader, "forward", counting)
            texts = [one.text for (one,) in model.answer_images(batch)]
        return texts, counts

    alone = [passes([one]) for one in asked]
    together, joint = passes(asked)
    assert [together] == [[text for texts, _ in alone for text in texts]]
    own = 3  # the picture, the question, and the finished answer once more
    assert joint.count(1) <= 4 * own + max(map(len, alone)) and max(joint) == 4
    assert len(joint) == 4 * own + max(len(counts) - own for _, counts in alone)


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
