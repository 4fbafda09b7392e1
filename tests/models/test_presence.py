"""How likely yes is: read in the same pass as the questions, and without changing their answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.yes_or_no import YesOrNo
from sa2va_cli.results import Question

PIXELS = np.random.default_rng(3).integers(0, 255, (40, 40, 3), dtype=np.uint8)
SEGMENT = Question("<image>Please segment the red circle.")
COLOUR = Question("<image>What color is the sky?")
PRESENCE = "<image>\nIs there {} in this image?"


def with_presence(question, thing):
    return replace(question, presence=PRESENCE.format(thing))


def probability_alone(model, text, picture):
    """From a plain pass over the whole prompt, by the definition."""
    language_model = model.model.language_model
    with torch.inference_mode():
        seen = model.steps.see_image(model.steps.views(picture))
        prompt = model.steps.questions.encode(Question(text), seen)
        logits = language_model(inputs_embeds=prompt.embeddings[None]).logits[0, -1].float()
    encode = model.tokenizer.encode
    yes, no = ({encode(word)[0] for word in words} for words in (("yes", "Yes"), ("no", "No")))
    chances = logits.exp()
    return float(chances[list(yes)].sum() / chances[list(yes | no)].sum())


def test_presence_is_the_chance_of_yes_against_no(golden_model):
    text = PRESENCE.format("a cat")
    answer = golden_model.answer_image(PIXELS, [replace(SEGMENT, presence=text)])[0].answer
    assert 0 < answer.presence < 1
    assert answer.presence == pytest.approx(probability_alone(golden_model, text, PIXELS), rel=1e-3)


def test_answers_and_masks_are_the_same_with_and_without_presence(golden_model):
    plain = golden_model.answer_image(PIXELS, [SEGMENT, COLOUR])
    things = ["a cat", "a much longer thing that is asked about"]
    asked = [with_presence(q, t) for q, t in zip([SEGMENT, COLOUR], things, strict=True)]
    together = golden_model.answer_image(PIXELS, asked)
    for one, other, thing in zip(together, plain, things, strict=True):
        assert other.answer.presence is None
        assert one.text == other.text
        alone = probability_alone(golden_model, PRESENCE.format(thing), PIXELS)
        assert one.answer.presence == pytest.approx(alone, rel=1e-3)
    masks, expected = together[0].object_masks(0), plain[0].object_masks(0)
    assert (masks != expected).sum() <= masks.size / 5000
    np.testing.assert_allclose(
        together[0].answer.seg_probabilities, plain[0].answer.seg_probabilities, atol=1e-5
    )


def test_only_those_that_are_asked_for_get_one_and_the_picture_is_read_once(
    golden_model, monkeypatch
):
    reader, read = golden_model.model.reader, []
    forward = reader.forward

    def counting(embeddings, *args):
        read.append(len(embeddings))
        return forward(embeddings, *args)

    monkeypatch.setattr(reader, "forward", counting)
    asked = [with_presence(SEGMENT, "a cat"), COLOUR, with_presence(SEGMENT, "a cat")]
    answers = [one.answer for one in golden_model.answer_image(PIXELS, asked)]
    assert answers[0].presence == answers[2].presence and answers[1].presence is None
    assert sum(count > 256 for count in read) == 1


def test_a_video_is_asked_too(golden_model):
    answers = golden_model.answer_video([PIXELS] * 2, [with_presence(SEGMENT, "a dog")]).answers
    assert 0 < answers[0].presence < 1


def test_spellings_that_begin_alike_tell_nothing(golden_model):
    tokenizer = golden_model.tokenizer
    space = tokenizer.encode(" yes")[0]
    assert space == tokenizer.encode(" no")[0]  # of this small vocabulary
    words = YesOrNo.of(tokenizer)
    assert space not in (*words.yes, *words.no) and len(words.yes) == len(words.no) == 2


def test_a_tokenizer_that_cannot_tell_yes_from_no_is_an_error(golden_model):
    class Blind:
        def encode(self, text):
            return [7]

    with pytest.raises(UsageError, match="yes from no"):
        YesOrNo.of(Blind())


def test_sure_is_one_and_impossible_is_zero():
    logits = torch.zeros(2, 4)
    logits[0, 1], logits[1, 2] = 200.0, 200.0
    assert YesOrNo(yes=(0, 1), no=(2,)).probabilities(logits) == [1.0, 0.0]
