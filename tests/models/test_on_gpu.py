"""Nothing stays on the host that a GPU needs, on any way through the model.

The GPU is a pretence (pretend_gpu.py): devices and number formats are checked, not kernels.
"""

import re

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from sa2va_cli import Sa2VA
from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.arriving import Arrival, SentMasks, send
from sa2va_cli.models.sa2va.checkpoint import Placement, load_model
from sa2va_cli.models.sa2va.compiling import warm_up
from sa2va_cli.models.sa2va.config import load_config
from sa2va_cli.models.sa2va.device import choose_device, settle_arithmetic
from sa2va_cli.models.sa2va.plain import PlainEngine
from sa2va_cli.models.sa2va.readiness import settle_model
from sa2va_cli.models.sa2va.tokenizer import Tokenizer
from sa2va_cli.results import Question, VideoOptions
from tests.models.pretend_gpu import GPU, PretendGpu
from tests.models.test_video import GOLDEN_I, clip
from tests.models.test_windows import ListFootage, assert_same, run

PICTURE = np.random.default_rng(5).integers(0, 255, (60, 90, 3), dtype=np.uint8)
REGION = np.zeros((1, 60, 90), dtype=bool)
REGION[:, 10:40, 20:60] = True
QUESTIONS = [
    Question("<image>Please segment the red circle and the green triangle."),
    Question("<image>Please segment the cat.", presence="<image>Is there a cat?"),
    Question("<image>What color is the sky?"),
    Question("<image>Please describe region1.", mask_prompts=REGION),
]
ONE = QUESTIONS[:1]


def on_gpu(folder, dtype):
    """As `Sa2VA.from_pretrained` puts it there."""
    config, placement = load_config(folder), Placement(GPU, dtype)
    model = load_model(folder, config, placement)
    settle_model(model, GPU, compiled=False)
    return Sa2VA(model, Tokenizer(folder))


@pytest.fixture(autouse=True)
def a_gpu():
    with PretendGpu():
        yield


@pytest.fixture(scope="module")
def gpu_model(golden_checkpoint):
    with PretendGpu():
        return on_gpu(golden_checkpoint, torch.bfloat16)


def texts(predictions):
    return [one.text for one in predictions]


def test_in_float32_an_image_is_answered_as_on_the_processor(golden_checkpoint, golden_model):
    model = on_gpu(golden_checkpoint, torch.float32)
    ours, theirs = (one.answer_image(PICTURE, QUESTIONS) for one in (model, golden_model))
    assert texts(ours) == texts(theirs) and ours[0].frames
    for one, other in zip(ours, theirs, strict=True):
        assert one.answer.presence == pytest.approx(other.answer.presence)
        for frame, wanted in zip(one.frames, other.frames, strict=True):
            assert (frame.masks == wanted.masks).mean() > 0.999


@pytest.mark.parametrize("threads", [1, 3])
def test_images_one_by_one_and_several_at_a_time(gpu_model, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    alone = gpu_model.answer_image(PICTURE, QUESTIONS)
    together = gpu_model.answer_images([(PICTURE, QUESTIONS), (PICTURE[:, :30], ONE)])
    assert texts(together[0]) == texts(alone)
    assert together[1][0].frames[0].masks.shape == (2, 60, 30)


@pytest.mark.parametrize("on_gpu", [True, False])
def test_a_gpu_reads_questions_in_one_pass_and_looks_at_pictures_meanwhile(
    gpu_model, golden_model, on_gpu
):
    """If masks are expected, that is: the answers are known from the time before."""
    model = gpu_model if on_gpu else golden_model
    pictures = [PICTURE, PICTURE[:, :30], PICTURE[:40]]
    model.answer_image(PICTURE, ONE)
    done: list[str] = []
    hooks = [
        network.register_forward_pre_hook(lambda *_, what=what: done.append(what))
        for network, what in (
            (model.model.reader, "read"),
            (model.model.segmenter.image_encoder, "look"),
            (model.model.segmenter.mask_decoder, "draw"),
        )
    ]
    model.answer_images([(picture, ONE) for picture in pictures])
    assert done == (
        ["read"] * 3 + ["look", "read"] + ["draw"] * 3
        if on_gpu
        else ["read"] * 6 + ["look"] + ["draw"] * 3
    )
    done.clear()
    model.answer_image(PICTURE, QUESTIONS[2:3])  # without masks
    assert "look" not in done
    for hook in hooks:
        hook.remove()


def test_pictures_with_and_without_masks_are_answered_together_as_alone(golden_checkpoint):
    """Also where an answer is not as expected, with and without a draft."""
    model = on_gpu(golden_checkpoint, torch.float32)
    segment, present, color = QUESTIONS[:3]
    asked = [
        (PICTURE, [segment, present]),
        (PICTURE[:, :50], [color]),
        (PICTURE[:40], [present]),
        (PICTURE[10:], [segment]),
    ]
    for _ in range(3):
        together = model.answer_images(asked)
        for ours, (picture, questions) in zip(together, asked, strict=True):
            alone = model.answer_image(picture, questions)
            assert texts(ours) == texts(alone)
            for one, other in zip(ours, alone, strict=True):
                assert one.answer.presence == pytest.approx(other.answer.presence, abs=1e-5)
                for frame, wanted in zip(one.frames, other.frames, strict=True):
                    assert (frame.masks == wanted.masks).mean() > 0.999


def test_a_video(gpu_model):
    assert len(list(gpu_model.answer_video(clip(7), ONE))) == 7


def test_a_frame_is_received_when_the_next_one_is_under_way(gpu_model, golden_model):
    for model, ahead in ((gpu_model, 1), (golden_model, 0)):
        drawn: list[int] = []
        hook = model.model.segmenter.mask_decoder.register_forward_hook(
            lambda *_, drawn=drawn: drawn.append(1)
        )
        masks = iter(model.answer_video(clip(9), ONE))
        assert next(masks).frame_idx == 0 and len(drawn) == 5  # the key frames come first
        for index in range(1, 9):
            assert next(masks).frame_idx == index
            assert len(drawn) == max(5, min(9, 1 + index + ahead))
        hook.remove()
        assert next(masks, None) is None


def test_two_decoders_and_windows_that_go_on_from_a_state():
    model = on_gpu(GOLDEN_I / "checkpoint", torch.bfloat16)
    options = VideoOptions(key_frames=2, window=6)
    looks, frames = run(model, ListFootage(clip(8)), options, ONE)
    assert len(looks[-1].state) > 10_000  # with memories of objects
    _, again = run(model, ListFootage(clip(8)), options, ONE, looks[-1].state)
    assert_same(again, frames[looks[-1].first :])
    warm_up(model.model, GPU)  # blank pictures for --compile


def test_a_conversation_with_masks(gpu_model):
    for talk in (gpu_model.chat(image=PICTURE), gpu_model.chat(video=clip(6))):
        assert talk.ask("Please segment the red circle.").frames
        assert talk.ask("Please segment the green triangle.").text
    assert gpu_model.chat().ask("Who are you?").text


def test_the_plain_engine(gpu_model):
    plain = PlainEngine(gpu_model.steps)
    picture = PICTURE[:40, :40]
    assert texts(plain.answer_image(picture, ONE)) == texts(gpu_model.answer_image(picture, ONE))
    assert len(list(plain.answer_video(clip(3), ONE, VideoOptions(key_frames=2)))) == 3


class Refusing(TorchFunctionMode):
    """A device that the driver lists, and on which nothing runs."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if (kwargs or {}).get("device") == torch.device("cuda:1"):
            raise self.error
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (torch.AcceleratorError("CUDA error: no kernel image\nCompile with"), UsageError, "image$"),
        (RuntimeError("The NVIDIA driver on your system is too old"), UsageError, "too old$"),
        (torch.cuda.DeferredCudaCallError("CUDA call failed lazily"), UsageError, "lazily$"),
        (torch.OutOfMemoryError("CUDA out of memory."), torch.OutOfMemoryError, "out of memory"),
        (RuntimeError("CUDA error: out of memory"), RuntimeError, "out of memory"),
    ],
)
def test_a_gpu_that_does_not_compute_is_refused(error, expected, message, monkeypatch):
    """Once, instead of a worker that dies over each item. Lack of memory may pass."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:0") == GPU
    with Refusing(error), pytest.raises(expected) as refused:
        choose_device("cuda:1")
    assert re.search(message, str(refused.value).splitlines()[0])


@pytest.fixture
def arithmetic():
    """What torch's switches say; they are put back."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    before = cudnn.allow_tf32, cudnn.deterministic, cuda.cudnn_sdp_enabled()
    yield lambda: (cudnn.allow_tf32, cudnn.deterministic, cuda.cudnn_sdp_enabled())
    cudnn.allow_tf32, cudnn.deterministic = before[:2]
    cuda.enable_cudnn_sdp(before[2])


def test_on_a_gpu_float32_is_float32_and_the_same_again_the_same(arithmetic):
    before = arithmetic()
    settle_arithmetic(torch.device("cpu"))
    assert arithmetic() == before
    settle_arithmetic(GPU)
    assert arithmetic() == (False, True, False)
    assert not torch.backends.cuda.matmul.allow_tf32


def test_a_model_is_loaded_on_a_gpu_by_its_name(golden_checkpoint, arithmetic, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    model = Sa2VA.from_pretrained(str(golden_checkpoint), device="cuda")
    assert (model.device, model.dtype, arithmetic()[0]) == (GPU, torch.bfloat16, False)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 5), (2, 16, 8)])
def test_masks_travel_as_bits(shape):
    masks = np.random.default_rng(1).random(shape) < 0.5
    sent = SentMasks(torch.from_numpy(masks).to(GPU))
    arrival = Arrival(GPU)
    assert not sent.numpy().any()  # they are under way
    arrival.wait()
    np.testing.assert_array_equal(sent.numpy(), masks)


def test_what_is_sent_later_is_not_waited_for():
    first, arrival = send(torch.ones(2, device=GPU)), Arrival(GPU)
    second = send(torch.ones(2, device=GPU))
    arrival.wait()
    assert first.tolist() == [1, 1] and second.tolist() == [0, 0]


def test_the_pretence_would_tell(gpu_model):
    """What the tests above rest on."""
    there, here = torch.ones(3, device="cuda"), torch.ones(3)
    for wrong in (
        lambda: there + here,
        lambda: torch.cat((there, here)),
        lambda: here[torch.arange(2, device=GPU)],
        lambda: torch.where(there > 0, there, torch.zeros(3)),
        lambda: there[:2].index_add(0, torch.arange(2), there[:2]),
        there.numpy,
        lambda: gpu_model.model.seg_bridge(torch.zeros(1, gpu_model.config.language.hidden_size)),
    ):
        with pytest.raises((RuntimeError, TypeError), match=r"cuda|same device"):
            wrong()
    assert (there * torch.tensor(2.0))[torch.tensor([0, 2])].sum().item() == 4.0
    assert {p.device for p in gpu_model.model.parameters()} == {GPU}
    assert {b.device for b in gpu_model.model.buffers()} == {GPU}
