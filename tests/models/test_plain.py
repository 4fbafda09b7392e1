"""Fast and plain engine say the same, whatever the drafts were."""

from pathlib import Path

import numpy as np
import pytest

from sa2va_cli.models.sa2va.drafts import MAX_ANSWERS, DraftBook
from sa2va_cli.models.sa2va.plain import PlainEngine
from sa2va_cli.results import Question

CASES = Path(__file__).parents[1] / "data" / "golden" / "internvl-qwen2" / "cases"
PICTURE = np.random.default_rng(5).integers(0, 255, (50, 50, 3), dtype=np.uint8)
TEXTS = {
    "one": "<image>Please segment the red circle.",
    "two": "<image>Please segment the red circle and the green triangle.",
    "caption": "<image>Could you please give me a brief description of the image? Please respond "
    "with interleaved segmentation masks for the corresponding parts of the answer.",
    "color": "<image>What color is the sky?",
}


def masks_agree(frames, expected):
    assert len(frames) == len(expected)
    for frame, wanted in zip(frames, expected, strict=True):
        assert frame.frame_idx == wanted.frame_idx and frame.masks.shape == wanted.masks.shape
        union = (frame.masks | wanted.masks).sum()
        assert (frame.masks & wanted.masks).sum() >= 0.999 * union
        np.testing.assert_allclose(frame.scores, wanted.scores, atol=1e-4)


@pytest.mark.parametrize("name", sorted(folder.name for folder in CASES.iterdir()))
def test_both_engines_agree_on_the_golden_cases(name, golden_case, golden_model):
    case = golden_case(name)
    if case.overrides or not {"image", "video"} & case.arguments.keys():
        pytest.skip("no picture, or the same weights at four times the cost")
    regions = case.arguments.get("mask_prompts")
    question = Question(
        case.arguments["text"], case.arguments["past_text"], regions[0] if regions else None
    )
    plain = PlainEngine(golden_model.steps)
    if "image" in case.arguments:
        for _ in range(2):  # without a draft, then with one
            fast = golden_model.answer_image(case.arguments["image"], [question])[0]
            slow = plain.answer_image(case.arguments["image"], [question])[0]
            assert fast.text == slow.text
            masks_agree(fast.frames, slow.frames)
    else:
        fast = golden_model.answer_video(case.arguments["video"], [question])
        slow = plain.answer_video(case.arguments["video"], [question])
        assert fast.answers[0].text == slow.answers[0].text
        masks_agree(list(fast), list(slow))


@pytest.fixture
def forgetful(golden_model, monkeypatch):
    """The golden model with an empty book of drafts."""
    monkeypatch.setattr(golden_model.generator, "drafts", DraftBook())
    return golden_model


def wrong_drafts(model):
    encode = lambda text: tuple(model.tokenizer.encode(text))  # noqa: E731
    right = encode("Sure, [SEG].<|im_end|>")
    yield right
    yield encode("Sure, it is [SEG].<|im_end|>")
    yield encode("Sure, [SEG] and [SEG].<|im_end|>")
    yield encode("[SEG]<|im_end|>")
    yield encode("No.<|im_end|>")
    yield right[:-1] + right  # goes on where the answer ends
    yield right[:2]
    yield right[:1]
    yield encode("The sky is blue.<|im_end|>")


@pytest.mark.parametrize("texts", [["one"], ["one", "two", "color"], ["caption", "one"] * 4])
def test_no_draft_changes_an_answer(forgetful, monkeypatch, texts):
    questions = [Question(TEXTS[text]) for text in texts]
    slow = PlainEngine(forgetful.steps).answer_image(PICTURE, questions)
    for draft in wrong_drafts(forgetful):
        monkeypatch.setattr(DraftBook, "propose", lambda self, question, draft=draft: draft)
        fast = forgetful.answer_image(PICTURE, questions)
        assert [one.text for one in fast] == [one.text for one in slow]
        for one, other in zip(fast, slow, strict=True):
            np.testing.assert_allclose(
                one.answer.seg_probabilities, other.answer.seg_probabilities, atol=1e-5
            )
            masks_agree(one.frames, other.frames)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("texts", [("caption", "one", "two"), ("caption",)])
def test_nothing_drafted_in_the_middle_changes_an_answer(forgetful, monkeypatch, seed, texts):
    """Some guesses are right for some tokens, some are nonsense, some end the answer."""
    questions = [Question(TEXTS[text]) for text in texts]
    slow = PlainEngine(forgetful.steps).answer_image(PICTURE, questions)
    said = [forgetful.tokenizer.encode(one.text) for one in slow]
    rng = np.random.default_rng(seed)

    def guess(self, ids):
        right = next((one for one in said if one[: len(ids)] == ids), ())[len(ids) :]
        nonsense = rng.integers(0, 200, rng.integers(0, 5)).tolist()
        return (*right[: rng.integers(0, 6)], *nonsense)

    monkeypatch.setattr(DraftBook, "follow", guess)
    monkeypatch.setattr(DraftBook, "propose", lambda self, question: ())
    fast = forgetful.answer_image(PICTURE, questions)
    assert [one.text for one in fast] == [one.text for one in slow]
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_allclose(
            one.answer.seg_probabilities, other.answer.seg_probabilities, atol=1e-5
        )
        masks_agree(one.frames, other.frames)


def test_what_was_said_before_is_drafted_in_the_middle_of_an_answer():
    book = DraftBook()
    assert book.follow([1, 2]) == ()
    assert book.follow([1, 2, 3, 9, 1, 2]) == (3, 9, 1, 2)  # in the same answer
    book.learn((5,), (7, 8, 4, 4, 6))
    assert book.follow([8]) == (4, 4, 6)
    assert book.follow([7, 8]) == (4, 4, 6)
    assert book.follow([3]) == ()


def test_a_confirmed_draft_needs_no_step(forgetful, monkeypatch):
    passes, forward = [], forgetful.model.reader.forward

    def counting(embeddings, *args):
        passes.append(len(embeddings))
        return forward(embeddings, *args)

    monkeypatch.setattr(forgetful.model.reader, "forward", counting)
    forgetful.answer_image(PICTURE, [Question(TEXTS["one"])])
    assert len(passes) > 2
    passes.clear()  # the picture, then question and draft
    forgetful.answer_image(PICTURE, [Question(TEXTS["one"])])
    assert len(passes) == 2
    passes.clear()  # another question of the same opening is drafted, too
    forgetful.answer_image(PICTURE, [Question(TEXTS["one"].replace("red circle", "blue square"))])
    assert len(passes) == 2
    passes.clear()  # the picture once, then all questions in one pass
    forgetful.answer_image(PICTURE, [Question(TEXTS["one"])] * 5)
    assert len(passes) == 2


@pytest.mark.parametrize("texts", [["one"], ["one", "two", "color"], ["caption", "two"]])
def test_a_result_is_the_same_to_the_last_bit_whatever_was_asked_before(
    forgetful, monkeypatch, texts
):
    questions = [Question(TEXTS[text]) for text in texts]
    results = [forgetful.answer_image(PICTURE, questions) for _ in range(2)]  # new, then drafted
    for draft in wrong_drafts(forgetful):
        monkeypatch.setattr(DraftBook, "propose", lambda self, question, draft=draft: draft)
        results.append(forgetful.answer_image(PICTURE, questions))
    for result in results[1:]:
        for one, other in zip(result, results[0], strict=True):
            assert one.answer == other.answer
            for frame, wanted in zip(one.frames, other.frames, strict=True):
                assert frame.masks.tobytes() == wanted.masks.tobytes()
                assert frame.scores.tobytes() == wanted.scores.tobytes()


def test_three_objects_at_once_are_tracked_as_if_alone(golden_model, golden_case):
    video = golden_case("video_12").arguments["video"][:8]
    texts = [
        "<image>Please segment the moving square.",
        "<image>Please segment the square and the circle.",
    ]
    together = golden_model.answer_video(video, [Question(text) for text in texts])
    masks = list(together)
    assert sum(len(answer.seg_probabilities) for answer in together.answers) == 3
    alone = PlainEngine(golden_model.steps).answer_video(video, [Question(text) for text in texts])
    masks_agree(masks, list(alone))


def test_the_book_proposes_what_is_said_most_and_forgets_the_rare():
    book = DraftBook()
    assert book.propose((1, 2, 3, 4)) == ()
    for answer in [(7, 9), (7, 9), (8, 9)]:
        book.learn((1, 2, 3, 4), answer)
    assert book.propose((1, 2, 3, 4)) == (7, 9)
    assert book.propose((1, 2, 3, 5)) == (7, 9)  # the same opening
    assert book.propose((1, 2, 4, 4)) == ()
    for number in range(3 * MAX_ANSWERS):
        book.learn((5, 5, 5), (100 + number, 9))
    assert book.propose((5, 5, 5)) == ()  # every answer another: no guess is good
    book.learn((6, 6, 6), tuple(range(1000)))
    assert book.propose((6, 6, 6)) == ()  # too long to come again word for word
