"""--compile: the same answers from compiled networks; without a compiler a clear word."""

import shutil

import numpy as np
import pytest
import torch

from sa2va_cli import Sa2VA
from sa2va_cli.errors import UsageError
from sa2va_cli.masks import mask_iou
from sa2va_cli.models.sa2va.compiler import cache_folder, check_compiler
from sa2va_cli.models.sa2va.compiling import warm_up
from sa2va_cli.results import Question

QUESTIONS = [Question("<image>Please segment the red circle and the green triangle.")]


def test_without_a_compiler_the_user_is_told_before_anything_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match=r"no g\+\+"):
        Sa2VA.from_pretrained(str(tmp_path / "nothing"), device="cpu", compile=True)
    monkeypatch.setenv("CXX", "my-compiler")
    with pytest.raises(UsageError, match="my-compiler"):
        check_compiler(on_gpu=False)


def test_what_was_compiled_is_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "sa2va" / "compiled"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_blank_pictures_for_the_compiler_fit_every_part_s_dtype(golden_checkpoint, dtype):
    model = Sa2VA.from_pretrained(str(golden_checkpoint), device="cpu", dtype=dtype)
    warm_up(model.model, torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("g++") is None, reason="nothing to compile with")
def test_compiled_networks_answer_alike(golden_checkpoint, golden_model, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    compiled = Sa2VA.from_pretrained(str(golden_checkpoint), device="cpu", compile=True)
    assert any(tmp_path.iterdir())
    rng = np.random.default_rng(2)
    for height, width in ((50, 50), (60, 90), (30, 120)):
        picture = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        one = compiled.answer_image(picture, QUESTIONS)[0]
        other = golden_model.answer_image(picture, QUESTIONS)[0]
        assert one.text == other.text
        for mask, wanted in zip(one.frames[0].masks, other.frames[0].masks, strict=True):
            assert mask_iou(mask, wanted) >= 0.999
    clip = [rng.integers(0, 255, (40, 40, 3), dtype=np.uint8) for _ in range(7)]
    masks = [list(model.answer_video(clip, QUESTIONS)) for model in (compiled, golden_model)]
    for frame, wanted in zip(*masks, strict=True):
        assert mask_iou(frame.masks[0], wanted.masks[0]) >= 0.999
