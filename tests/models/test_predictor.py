"""The Python API: what it accepts, what it refuses, and the reference's sharp edges made blunt."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sa2va_cli import Sa2VA
from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.device import choose_attention, choose_dtype
from sa2va_cli.results import Question

PICTURE = np.random.default_rng(1).integers(0, 255, (40, 56, 3), dtype=np.uint8)
SEGMENT = "<image>Please segment the red circle."
REGION = np.ones((1, 8, 8), bool)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": PICTURE, "text": "Please segment it."}, "<image> 0 times"),
        ({"image": PICTURE, "text": "<image><image>What?"}, "<image> 2 times"),
        ({"image": PICTURE, "text": "<image>What?", "past_text": "Hello"}, "already stands"),
        ({"image": PICTURE, "text": "What?", "past_text": "Hello"}, "0 <IMG_CONTEXT> tokens"),
        ({"image": PICTURE, "text": "<image><IMG_CONTEXT>"}, "257 <IMG_CONTEXT> tokens"),
        ({"text": "What?", "past_text": "<image>"}, "literal <image>"),
        ({"text": "What?", "mask_prompts": REGION}, "need an image"),
        ({"video": [PICTURE], "text": "<image>?", "mask_prompts": REGION}, "not on videos"),
        ({"image": PICTURE, "text": "?", "past_text": "x", "mask_prompts": REGION}, "empty past"),
        ({"image": PICTURE, "text": "<image>?", "mask_prompts": REGION[:0]}, "shape"),
        ({"image": PICTURE, "text": "<image>?", "mask_prompts": REGION[0]}, "shape"),
        ({"video": [], "text": SEGMENT}, "no frames"),
        ({"image": PICTURE, "video": [PICTURE], "text": SEGMENT}, "Both"),
        ({"image": "photo.jpg", "text": SEGMENT}, "type str"),
        ({"image": PICTURE.astype(float), "text": SEGMENT}, "type ndarray"),
    ],
)
def test_what_does_not_fit_together_is_refused(golden_model, arguments, message):
    square = {
        k: v[:40, :40] if k == "image" and hasattr(v, "shape") else v for k, v in arguments.items()
    }
    with pytest.raises(UsageError, match=message):
        golden_model.predict(**square)


def test_pictures_about_which_nothing_is_asked(golden_model):
    assert golden_model.answer_images([]) == []
    for ask in (
        golden_model.answer_image,
        lambda picture, no: golden_model.answer_video([picture], no),
    ):
        with pytest.raises(UsageError, match="Nothing is asked"):
            ask(PICTURE[:40, :40], [])


def test_a_question_longer_than_the_model_can_read_is_refused(golden_model, capfd):
    """The golden checkpoint has a scaling without an end, the demo one has 4096 places."""
    demo = Sa2VA.from_pretrained("demo", device="cpu")
    long = "<image>" + " a" * 9000
    with pytest.raises(UsageError, match=r"has 9\d\d\d tokens, 64 of them the picture's; .* 4096"):
        demo.predict(image=PICTURE[:40, :40], text=long)
    assert golden_model.config.language.context_length is None
    language = replace(golden_model.config.language, rope_scaling={"type": "yarn", "factor": 4.0})
    assert language.context_length == 4 * 32768
    assert capfd.readouterr() == ("", ""), "the tokenizer has no opinion of its own"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "I;16", "CMYK"])
def test_pictures_of_every_mode_are_read(golden_model, mode):
    prediction = golden_model.predict(Image.new(mode, (30, 20)), text=SEGMENT)
    assert prediction.frames[0].masks.shape == (1, 20, 30)


def test_a_mask_comes_with_three_scores(golden_model):
    prediction = golden_model.predict(PICTURE, text=SEGMENT)
    frame = prediction.frames[0]
    assert prediction.text == "Sure, [SEG].<|im_end|>"
    assert frame.masks.shape == (1, 40, 56) and frame.masks.dtype == bool
    for value in (frame.scores[0], frame.object_scores[0], *prediction.answer.seg_probabilities):
        assert 0 <= value <= 1


def test_plain_chat_never_draws_and_forgets_the_image_word(golden_model):
    plain = golden_model.predict(text="Who are you?")
    assert plain.text == golden_model.predict(text="<image>Who are you?").text
    assert plain.frames == ()


def test_the_reference_call_takes_its_tokenizer_and_lets_the_video_win(golden_model):
    video = [PICTURE, PICTURE]
    answer = golden_model.predict_forward(
        image=PICTURE, video=video, text=SEGMENT, tokenizer=object()
    )
    assert [masks.shape for masks in answer["prediction_masks"]] == [(2, 40, 56)]
    question = golden_model.predict_forward(image=PICTURE, text="<image>What color is the sky?")
    assert question["prediction_masks"] == []


def test_frames_are_taken_only_as_masks_are_asked_for(golden_model):
    taken = []

    def frames():
        for index in range(1000):
            taken.append(index)
            yield PICTURE

    answers = golden_model.answer_video(frames(), [Question(SEGMENT)])
    assert answers.answers[0].text == "Sure, [SEG].<|im_end|>" and len(taken) == 5
    masks = iter(answers)
    assert [next(masks).frame_idx for _ in range(7)] == list(range(7))
    assert len(taken) == 7


def test_a_video_question_without_masks_reads_five_frames_only(golden_model):
    frames = iter([PICTURE] * 9)
    answers = golden_model.answer_video(
        frames, [Question("<image>What is happening in the video?")]
    )
    assert list(answers) == [] and len(list(frames)) == 4


def test_frames_of_another_size_take_the_first_one_s(golden_model):
    video = [PICTURE, PICTURE[:20, :20]]
    masks = golden_model.predict(video=video, text=SEGMENT).object_masks(0)
    assert masks.shape == (2, 40, 56)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"device": "cuda:99"}, "no device cuda:99"),
        ({"device": "gpu"}, "Unknown device"),
        ({"device": "cpu", "dtype": "int8"}, "Unknown dtype"),
        ({"device": "cpu", "attention": "flash"}, "flash-attn cannot be used"),
        ({"device": "cpu", "attention": "eager"}, "Unknown attention"),
    ],
)
def test_a_device_or_format_that_cannot_be_had_is_refused(golden_checkpoint, option, message):
    with pytest.raises(UsageError, match=message):
        Sa2VA.from_pretrained(str(golden_checkpoint), **option)


@pytest.mark.parametrize(
    ("device", "capabilities", "width", "dtype"),
    [
        ("cpu", {"cpu_name": "AMD EPYC 9B14", "avx512_bf16": True}, 1024, "bfloat16"),
        ("cpu", {"cpu_name": "Intel Xeon", "amx_bf16": True}, 3200, "bfloat16"),
        ("cpu", {"cpu_name": "Intel Xeon", "avx512_bf16": True}, 1024, "float32"),  # no AMX
        ("cpu", {"cpu_name": "AMD EPYC 9B14", "avx512_bf16": True}, 128, "float32"),  # narrow
        ("cpu", {"cpu_name": "AMD EPYC 7B13", "avx512_bf16": False}, 1024, "float32"),
        ("cuda", (8, 0), 128, "bfloat16"),
        ("cuda", (7, 5), 1024, "float32"),  # a T4
    ],
)
def test_auto_takes_bfloat16_where_that_is_faster(device, capabilities, width, dtype, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capabilities)
    chosen = choose_dtype("auto", torch.device(device), width)
    assert chosen == getattr(torch, dtype)
    assert choose_dtype("float32", torch.device(device), width) == torch.float32


def test_attention_is_never_eager(golden_model):
    from transformers import PreTrainedModel

    parts = [m for m in golden_model.model.modules() if isinstance(m, PreTrainedModel)]
    assert parts and {part.config._attn_implementation for part in parts} == {"sdpa"}
    assert golden_model.model.segmenter.mask_decoder.config._attn_implementation == "sdpa"


def with_threads(counts, answer):
    """What comes of it with so many threads."""
    threads, results = torch.get_num_threads(), []
    try:
        for count in counts:
            torch.set_num_threads(count)
            results.append(answer())
    finally:
        torch.set_num_threads(threads)
    return results


def assert_all_but_alike(frame, other):
    """A matrix product cut in two may be rounded otherwise; on which processors, MKL decides."""
    assert (frame.masks != other.masks).sum() <= frame.masks.size / 5000
    np.testing.assert_allclose(frame.scores, other.scores, atol=1e-5)


def test_the_number_of_threads_changes_no_more_than_last_bits(golden_model):
    questions = [
        Question("<image>Please segment the red circle and the green triangle."),
        Question("<image>Please segment the cat."),
    ]
    first, *others = with_threads((1, 2, 3), lambda: golden_model.answer_image(PICTURE, questions))
    for result in others:
        for one, other in zip(result, first, strict=True):
            assert one.text == other.text
            np.testing.assert_allclose(
                one.answer.seg_probabilities, other.answer.seg_probabilities, atol=1e-5
            )
            assert_all_but_alike(one.frames[0], other.frames[0])


def test_the_number_of_threads_changes_no_more_than_last_bits_of_a_video(golden_model, golden_case):
    video = golden_case("video_two_seg").arguments["video"]
    question = Question("<image>Please segment the square and the circle.")
    first, other = with_threads((1, 2), lambda: list(golden_model.answer_video(video, [question])))
    for one, two in zip(first, other, strict=True):
        assert_all_but_alike(one, two)


@pytest.mark.parametrize("inside", ["raise ImportError('undefined symbol')", ""])
def test_a_flash_attn_that_does_not_run_is_as_good_as_none(inside, tmp_path, monkeypatch):
    (tmp_path / "flash_attn").mkdir()
    (tmp_path / "flash_attn" / "__init__.py").write_text(inside)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "flash_attn", raising=False)
    device, dtype = torch.device("cuda"), torch.bfloat16
    assert choose_attention("auto", device, dtype) == "sdpa"
    with pytest.raises(UsageError, match="flash-attn cannot be used"):
        choose_attention("flash", device, dtype)
    sys.modules.pop("flash_attn", None)
