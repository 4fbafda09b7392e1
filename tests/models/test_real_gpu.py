"""On a real GPU, what the processor says: answers, whole commands, training. `make test-gpu`."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from sa2va_cli import Sa2VA
from sa2va_cli.demo.train import STAGES, Run, StageRun
from sa2va_cli.jobs.model_source import Loading, Sa2vaLoader
from sa2va_cli.jobs.out_of_memory import Sparing, TooLarge
from sa2va_cli.models.sa2va.plain import PlainEngine
from sa2va_cli.models.sa2va.preprocess import normalise_sam
from sa2va_cli.results import Question, VideoOptions
from tests.models.test_video import GOLDEN_I, clip
from tests.models.test_windows import ListFootage, assert_same, run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DEVICE = f"cuda:{max(0, torch.cuda.device_count() - 1)}"  # the last: nothing may rest on the first
CASES = (
    "image_single", "image_two_seg", "image_gcg", "image_many_tiles", "image_multi_turn",
    "mask_prompt_seg", "mask_prompt_text", "text_only", "video_12", "video_question",
)  # fmt: skip
PICTURE = np.random.default_rng(5).integers(0, 255, (300, 400, 3), dtype=np.uint8)
QUESTIONS = [
    Question("<image>Please segment the red circle and the green triangle."),
    Question("<image>Please segment the cat.", presence="<image>Is there a cat?"),
]


def load(folder, **options):
    return Sa2VA.from_pretrained(str(folder), device=DEVICE, **options)


@pytest.fixture(scope="module")
def model(golden_checkpoint):
    return load(golden_checkpoint)


@pytest.fixture(scope="module")
def precise_model(golden_checkpoint):
    return load(golden_checkpoint, dtype="float32")


def texts(predictions):
    return [one.text for one in predictions]


def bits(predictions):
    frames = [frame for one in predictions for frame in one.frames]
    return [(frame.masks.tobytes(), frame.scores.tobytes()) for frame in frames]


def alike(predictions, expected, share):
    assert texts(predictions) == texts(expected)
    for one, wanted in zip(predictions, expected, strict=True):
        for frame, other in zip(one.frames, wanted.frames, strict=True):
            assert (frame.masks == other.masks).mean() >= share


@pytest.mark.parametrize("name", CASES)
def test_in_float32_a_gpu_says_and_draws_what_the_processor_does(
    name, golden_case, golden_model, precise_model
):
    case = golden_case(name)
    ours, theirs = (one.predict_forward(**case.arguments) for one in (precise_model, golden_model))
    assert ours["prediction"] == theirs["prediction"]
    for one, other in zip(ours["prediction_masks"], theirs["prediction_masks"], strict=True):
        assert (one == other).mean() >= 0.999


def test_the_same_again_is_the_same_to_the_last_bit(model):
    model.answer_image(PICTURE, QUESTIONS)  # drafts are known from here on
    first, second = (model.answer_image(PICTURE, QUESTIONS) for _ in range(2))
    assert bits(first) and bits(first) == bits(second)


def test_what_is_recorded_computes_the_same_bits_of_other_pictures(model):
    """SAM 2's encoder, run as it is and replayed, two pictures in turns."""
    steps, encoder = model.steps, model.model.segmenter.image_encoder
    with torch.inference_mode():
        for picture in (PICTURE, PICTURE[::-1].copy()) * 4:
            views = steps.views(picture)
            pixels = normalise_sam(views.square.to(DEVICE), steps.dtype, video=False)
            replayed, anew = (
                steps.features(views, video=False),
                type(encoder).forward(encoder, pixels),
            )
            assert all(torch.equal(*pair) for pair in zip(replayed, anew, strict=True))


def test_both_engines_agree(precise_model):
    plain = PlainEngine(precise_model.steps).answer_image(PICTURE, QUESTIONS)
    alike(precise_model.answer_image(PICTURE, QUESTIONS), plain, 0.999)


def test_images_one_by_one_and_together(precise_model):
    together = precise_model.answer_images([(PICTURE, QUESTIONS)] * 3)
    for own in together:
        alike(own, precise_model.answer_image(PICTURE, QUESTIONS), 0.999)


def test_windows_go_on_from_a_state():
    model_i, options = load(GOLDEN_I / "checkpoint"), VideoOptions(key_frames=3, window=8)
    looks, frames = run(model_i, ListFootage(clip(20)), options, QUESTIONS[:1])
    _, again = run(model_i, ListFootage(clip(20)), options, QUESTIONS[:1], looks[2].state)
    assert_same(again, frames[looks[2].first :])


def test_flash_attn_says_the_same(golden_checkpoint, model):
    pytest.importorskip("flash_attn")
    flash, sdpa = (load(golden_checkpoint, attention=name) for name in ("flash", "sdpa"))
    assert flash.model.vision_encoder.config._attn_implementation == "flash_attention_2"
    alike(flash.answer_image(PICTURE, QUESTIONS), sdpa.answer_image(PICTURE, QUESTIONS), 0.9)


@pytest.mark.timeout(1800)
def test_compiled_networks_answer_alike(golden_checkpoint, precise_model, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    compiled = load(golden_checkpoint, dtype="float32", compile=True)
    for picture in (PICTURE, PICTURE[:90, :200]):
        expected = precise_model.answer_image(picture, QUESTIONS)
        alike(compiled.answer_image(picture, QUESTIONS), expected, 0.999)
    assert len(list(compiled.answer_video(clip(7), QUESTIONS[:1]))) == 7


def test_without_memory_an_item_fails_and_the_next_one_does_not(model):
    sparing = Sparing(model)
    (before,) = sparing.answer([(PICTURE, QUESTIONS)])
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6, DEVICE)
    try:
        (without,) = sparing.answer([(PICTURE, QUESTIONS)])
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, DEVICE)
    (after,) = sparing.answer([(PICTURE, QUESTIONS)])
    assert isinstance(without, TooLarge) and "Out of memory" in without.reason
    assert texts(after) == texts(before)


def test_a_worker_s_model_is_on_its_device(golden_checkpoint):
    annotator = Sa2vaLoader(str(golden_checkpoint), Loading())(DEVICE)
    assert str(annotator.device) == DEVICE
    assert torch.cuda.current_device() == torch.device(DEVICE).index


def sa2va(*arguments):
    command = [sys.executable, "-m", "sa2va_cli.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def test_a_job_on_every_gpu_with_two_workers_each(tmp_path):
    draw = [sys.executable, "-m", "sa2va_cli.demo.draw", str(tmp_path / "in")]
    subprocess.run(draw, check=True, capture_output=True)
    done = sa2va(
        "annotate", "--manifest", tmp_path / "in" / "manifest.jsonl", "--model", "demo",
        "--devices", "cuda", "--workers-per-device", 2, "-o", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    coco = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert coco["annotations"]


def test_bench_times_the_stages_of_any_gpu():
    works = ("--works", "image-2,images-3,batch-2,caption-1,video-1", "-n", 1, "--frames", 6)
    done = sa2va("bench", "--model", "demo", "--device", DEVICE, "--json", *works)
    assert done.returncode == 0, done.stderr
    for work in json.loads(done.stdout)["works"]:
        for one in work["measurements"]:
            assert 0 < one["busy_share"] <= 1 and one["peak_gb"] > 0
            stages = {stage["stage"]: stage["seconds"] for stage in one["stages"]}
            assert stages["vision tower"] > 0 and stages["SAM 2 encoder"] > 0
            assert sum(stages.values()) == pytest.approx(one["seconds"][0])


@pytest.mark.parametrize("name", STAGES)
def test_the_demo_model_trains(name, tmp_path):
    class Short(STAGES[name]):
        batch, pictures = 4, 8

    training = Run(tmp_path, tuple(STAGES), 1, 1.0, None, DEVICE, 0, None)
    begun = StageRun(training, Short(), 0)
    begun.learner.has_teacher = True  # as after the stage `trace`
    begun.train(steps=1)
    rest = StageRun(training, Short(), 0)
    rest.learner.has_teacher = True
    rest.train()
    assert rest.step == 2
