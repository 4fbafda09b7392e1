"""Conversations: each turn says what it would say with the past as text, and sees nothing twice."""

import numpy as np
import pytest
import torch
from PIL import Image

from sa2va_cli import Sa2VA
from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va import streaming
from sa2va_cli.models.sa2va.generation import Generator
from sa2va_cli.results import Prediction, Question, VideoOptions

QUESTION = "<image>What is in the picture?"
PIXELS = np.random.default_rng(5).integers(0, 255, (40, 40, 3), dtype=np.uint8)
SEGMENT = "Please segment the red circle."


@pytest.fixture
def counts(golden_model, monkeypatch):
    """Pictures that each eye sees, and how many tokens the language model reads in each pass."""
    seen = {"vision": 0, "sam": 0, "read": []}
    parts = golden_model.model

    def count(module, note):
        forward = module.forward

        def counting(*args, **kwargs):
            note(*args, **kwargs)
            return forward(*args, **kwargs)

        monkeypatch.setattr(module, "forward", counting)

    count(
        parts.vision_encoder,
        lambda pixel_values: seen.update(vision=seen["vision"] + len(pixel_values)),
    )
    count(parts.segmenter.image_encoder, lambda _: seen.update(sam=seen["sam"] + 1))
    count(parts.reader, lambda embeddings, *_: seen["read"].append(len(embeddings)))
    return seen


@pytest.fixture
def conversed_ids(monkeypatch):
    """The ids of each prompt and of each answer."""
    recorded, converse = [], Generator.converse

    def recording(self, prompt, *rest):
        answer = converse(self, prompt, *rest)
        recorded.append((prompt.ids, answer.ids))
        return answer

    monkeypatch.setattr(Generator, "converse", recording)
    return recorded


def same_prediction(one, other):
    assert one.text == other.text
    np.testing.assert_allclose(
        one.answer.seg_probabilities, other.answer.seg_probabilities, atol=1e-5
    )
    assert len(one.frames) == len(other.frames)
    for frame, wanted in zip(one.frames, other.frames, strict=True):
        assert (frame.masks != wanted.masks).sum() <= frame.masks.size / 5000
        np.testing.assert_allclose(frame.scores, wanted.scores, atol=1e-4)


def test_the_second_turn_equals_the_reference_s(golden_model, golden_case, conversed_ids):
    case = golden_case("image_multi_turn")
    conversation = golden_model.chat(image=case.arguments["image"])
    conversation.recall(QUESTION, "A cat and a dog.<|im_end|>")
    assert conversation.past_text == case.arguments["past_text"]
    prediction = conversation.ask(case.arguments["text"])

    assert prediction.text == str(case.expected["prediction"])
    ids, answer_ids = conversed_ids[0]
    assert ids == case.expected["input_ids"].flatten().tolist()
    assert answer_ids == case.expected["generated_ids"].flatten().tolist()
    masks, expected = prediction.object_masks(0), case.masks(0)
    assert (masks != expected).sum() <= expected.size / 5000


def test_a_conversation_without_a_picture_equals_the_reference_s(golden_model, golden_case):
    case = golden_case("text_multi_turn")
    conversation = golden_model.chat()
    assert conversation.ask("<image>Who are you?").text == "I am a tiny test model.<|im_end|>"
    assert conversation.ask(case.arguments["text"]).text == str(case.expected["prediction"])


def test_every_turn_equals_a_prediction_with_the_past_as_text(golden_model, conversed_ids):
    conversation = golden_model.chat(image=PIXELS)
    past = ""
    for text in (f"<image>{SEGMENT}", "What color is the sky?", SEGMENT, "Und wo ist 猫? 🐈"):
        expected = golden_model.predict(PIXELS, text=text, past_text=past)
        assert conversation.past_text == past
        same_prediction(conversation.ask(text), expected)
        assert conversed_ids[-1][0] == golden_model.tokenizer.encode(
            conversation.past_text.removesuffix(expected.text + "\n")
        )
        past = conversation.past_text
        assert past.endswith("<|im_end|>\n")
    assert len(conversation.turns) == 4


def test_the_picture_is_looked_at_once_and_no_turn_is_read_twice(golden_model, counts):
    conversation = golden_model.chat(image=PIXELS)
    conversation.ask(SEGMENT)
    assert (counts["vision"], counts["sam"]) == (1, 1)
    first = counts["read"][0]
    assert first > 256
    counts["read"].clear()
    conversation.ask(SEGMENT)
    assert (counts["vision"], counts["sam"]) == (1, 1)
    assert counts["read"][0] < 30 and set(counts["read"][1:]) == {1}
    counts["read"].clear()
    conversation.reset()
    conversation.ask(SEGMENT)  # the picture's own tokens stay, too
    assert (counts["vision"], counts["sam"]) == (1, 1)
    assert counts["read"][0] < 30


def test_a_clip_is_seen_once_and_tracked_for_every_answer(golden_model, counts):
    frames = [np.roll(PIXELS, 3 * step, axis=1) for step in range(6)]
    conversation = golden_model.chat(video=frames)
    expected = golden_model.predict(video=frames, text=f"<image>\n{SEGMENT}")
    counts.update(vision=0, sam=0)
    same_prediction(conversation.ask(SEGMENT), expected)
    past = conversation.past_text
    later = conversation.ask(SEGMENT)
    assert (counts["vision"], counts["sam"]) == (5, 6)
    same_prediction(later, golden_model.predict(video=frames, text=SEGMENT, past_text=past))


@pytest.mark.parametrize("checkpoint", ["internvl-qwen2", "sa2va-i"])
def test_key_frames_spread_over_a_clip_are_talked_about(golden_checkpoint, checkpoint):
    folder = golden_checkpoint.parents[1] / checkpoint / "checkpoint"
    model = Sa2VA.from_pretrained(str(folder), device="cpu")
    options = VideoOptions(key_frames=3, key_sampling="uniform")
    frames = [np.roll(PIXELS, 3 * step, axis=1) for step in range(5)]
    expected = model.answer_video(frames, [Question(f"<image>\n{SEGMENT}")], options)
    wanted = Prediction(expected.answers[0], tuple(expected))
    conversation = model.chat(video=frames, options=options)
    for _ in range(2):  # the second time with the features of the first
        same_prediction(conversation.ask(SEGMENT), wanted)
        conversation.reset()


def test_regions_are_talked_about_in_later_turns_too(golden_model, golden_case, counts):
    case = golden_case("mask_prompt_seg")
    regions = case.arguments["mask_prompts"][0]
    conversation = golden_model.chat(image=case.arguments["image"])
    conversation.ask("Please segment the cat.")
    with pytest.raises(UsageError, match="empty past text"):
        conversation.ask("What is region1?", mask_prompts=regions)
    conversation.reset()
    other = np.zeros_like(regions)
    other[:, :, : other.shape[2] // 2] = True
    conversation.ask(case.arguments["text"], mask_prompts=other)
    conversation.reset()
    prediction = conversation.ask(case.arguments["text"], mask_prompts=regions)
    assert prediction.text == str(case.expected["prediction"])
    for index in range(case.num_masks):
        wrong = prediction.object_masks(index) != case.masks(index)
        assert wrong.sum() <= wrong.size / 5000
    counts["read"].clear()
    later = conversation.ask(SEGMENT)
    assert later.text.endswith("<|im_end|>") and counts["read"][0] < 30
    # The same read in one go.
    fresh = golden_model.chat(image=case.arguments["image"])
    fresh.ask(case.arguments["text"], mask_prompts=regions)
    fresh._kept.cut(0)
    same_prediction(fresh.ask(SEGMENT), later)


def test_pieces_of_text_joined_are_the_answer(golden_model):
    pieces = []
    prediction = golden_model.chat(image=PIXELS).ask(SEGMENT, on_text=pieces.append)
    assert len(pieces) > 3 and "".join(pieces) == prediction.text


def test_half_characters_wait_until_they_are_whole(golden_model):
    tokenizer, pieces = golden_model.tokenizer, []
    text = "naïve 🐈‍⬛ 猫 and\n  two  spaces <p>x</p> [SEG]<|im_end|>"
    ids = tokenizer.encode(text)
    stream = streaming.TextStream(tokenizer, pieces.append)
    for count in range(1, len(ids) + 1):
        stream.update(ids[:count])
    stream.finish(ids)
    assert "".join(pieces) == text == tokenizer.decode(ids)
    assert not any("\ufffd" in piece for piece in pieces)
    broken = [*ids[: len(tokenizer.encode("naïve ")) + 1]]  # cut within the cat
    pieces.clear()
    stream = streaming.TextStream(tokenizer, pieces.append)
    for count in range(1, len(broken) + 1):
        stream.update(broken[:count])
    assert "".join(pieces) == "naïve "
    stream.finish(broken)
    assert "".join(pieces) == tokenizer.decode(broken)


@pytest.mark.parametrize("after", [1, 2, 4])
def test_an_interrupted_answer_leaves_the_conversation_as_it_was(golden_model, after):
    conversation = golden_model.chat(image=PIXELS)
    conversation.ask(SEGMENT)
    before = (conversation.past_text, list(conversation.turns))

    pieces = []

    def interrupt(text):
        pieces.append(text)
        if len(pieces) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversation.ask("What color is the sky?", on_text=interrupt)
    assert (conversation.past_text, conversation.turns) == before
    expected = golden_model.predict(PIXELS, text=SEGMENT, past_text=before[0])
    same_prediction(conversation.ask(SEGMENT), expected)


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("at", ["layer 1", "masks"])
def test_an_interrupt_in_the_middle_of_a_pass_does_no_harm(golden_model, monkeypatch, turn, at):
    """Layers that were through have more cells in the cache than those that were not."""
    conversation = golden_model.chat(image=PIXELS)
    if turn:
        conversation.ask(SEGMENT)
    past = conversation.past_text
    layers = golden_model.model.language_model.model.layers
    module = (
        layers[1].mlp.gate_proj if at == "layer 1" else golden_model.model.segmenter.mask_decoder
    )

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "forward", stop)
        conversation.ask(SEGMENT)
    assert conversation.past_text == past and len(conversation.turns) == turn
    text = SEGMENT if turn else f"<image>\n{SEGMENT}"
    expected = golden_model.predict(PIXELS, text=text, past_text=past)
    same_prediction(conversation.ask(SEGMENT), expected)


def test_regions_of_a_recalled_turn_are_not_those_of_before(golden_model, golden_case):
    case = golden_case("mask_prompt_seg")
    image, text = case.arguments["image"], case.arguments["text"]
    regions = case.arguments["mask_prompts"][0]
    upside_down = regions[:, ::-1].copy()  # as many cells

    def after(conversation, regions):
        conversation.recall(text, "Sure, [SEG].<|im_end|>", regions)
        return conversation.ask(SEGMENT)

    conversation = golden_model.chat(image=image)
    conversation.ask(text, mask_prompts=regions)
    conversation.reset()
    wanted = after(golden_model.chat(image=image), upside_down)
    same_prediction(after(conversation, upside_down), wanted)
    other = after(golden_model.chat(image=image), regions)
    with pytest.raises(AssertionError):  # regions make a difference
        same_prediction(other, wanted)


def test_a_video_is_not_held_open_between_answers(golden_model):
    closed = []

    class Frames(list):
        def __iter__(self):
            try:
                yield from [PIXELS] * 8
            finally:
                closed.append(True)

    conversation = golden_model.chat(video=Frames([PIXELS] * 8))
    assert not conversation.ask("<image>What is happening in the video?").frames
    assert closed == [True]


def test_an_answer_without_its_masks_taken_is_not_part_of_the_conversation(golden_model):
    conversation = golden_model.chat(image=PIXELS)
    reply = conversation.answer(SEGMENT)
    assert reply.answer.text == "Sure, [SEG].<|im_end|>" and conversation.turns == []
    assert len(list(reply)) == 1 and len(conversation.turns) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": PIXELS, "video": [PIXELS]}, "Both"),
        ({"video": iter([PIXELS])}, "only once"),
        ({"video": []}, "no frames"),
        ({"image": "photo.jpg"}, "type str"),
    ],
)
def test_what_cannot_be_talked_about_is_refused(golden_model, arguments, message):
    with pytest.raises(UsageError, match=message):
        golden_model.chat(**arguments).ask(SEGMENT)


def test_a_later_turn_has_no_place_for_the_picture(golden_model):
    conversation = golden_model.chat(image=PIXELS)
    conversation.ask(SEGMENT)
    with pytest.raises(UsageError, match="already stands"):
        conversation.ask(f"<image>{SEGMENT}")


def test_pictures_of_pil_are_talked_about_too(golden_model):
    with torch.inference_mode(False):
        assert golden_model.chat(image=Image.fromarray(PIXELS)).ask(SEGMENT).frames
