"""--compile: the same answers from compiled networks; without a compiler a clear word."""

import shutil
from functools import partial

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.utils._pytree import tree_leaves

from sa2va_cli import Sa2VA
from sa2va_cli.errors import UsageError
from sa2va_cli.masks import mask_iou
from sa2va_cli.models.sa2va.compiler import cache_folder, check_compiler
from sa2va_cli.models.sa2va.compiling import compile_now, fixed_networks, warm_up
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


def layouts(model, run):
    """How the tensors lie in memory that the compiled networks get, but for the first dimension."""
    seen = set()

    def note(module, args, kwargs):
        for place, value in enumerate(tree_leaves((args, kwargs))):
            if isinstance(value, torch.Tensor):
                seen.add((type(module), place, value.dtype, value.shape[2:], value.stride()[1:]))

    hooks = [
        network.register_forward_pre_hook(note, with_kwargs=True)
        for network in fixed_networks(model.model)
    ]
    run()
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("checkpoint", ["internvl-qwen2", "sa2va-i"])
def test_blank_pictures_lie_in_memory_as_others_do(golden_checkpoint, checkpoint):
    """torch compiles anew for every layout."""
    folder = golden_checkpoint.parents[1] / checkpoint / "checkpoint"
    model = Sa2VA.from_pretrained(str(folder), device="cpu")
    blank = layouts(model, lambda: warm_up(model.model, torch.device("cpu")))
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)
    clip = [rng.integers(0, 255, (40, 40, 3), dtype=np.uint8) for _ in range(8)]
    pictures = layouts(model, lambda: model.answer_image(picture, QUESTIONS))
    assert pictures and pictures <= blank
    assert layouts(model, lambda: list(model.answer_video(clip, QUESTIONS))) <= blank


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["internvl-qwen2", "sa2va-i"])
def test_no_item_waits_for_the_compiler(golden_checkpoint, monkeypatch, checkpoint):
    """Traced only, in half a minute: what is traced anew would be compiled anew."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    folder = golden_checkpoint.parents[1] / checkpoint / "checkpoint"
    model = Sa2VA.from_pretrained(str(folder), device="cpu", compile=True)
    traced = counters["stats"]["unique_graphs"]
    assert traced > 0
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)
    clip = [rng.integers(0, 255, (40, 40, 3), dtype=np.uint8) for _ in range(8)]
    for asked in (QUESTIONS, QUESTIONS * 2):
        assert model.answer_image(picture, asked)[0].frames
        assert list(model.answer_video(clip, asked))
    for size in (2, 4, 5):
        assert len(model.answer_images([(picture, QUESTIONS)] * size)) == size
    assert counters["stats"]["unique_graphs"] == traced


def test_a_compiler_that_fails_is_the_users_to_mend(golden_model, monkeypatch):
    def broken(graph, inputs):
        raise OSError("no space for objects")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    for network in fixed_networks(golden_model.model):
        monkeypatch.setattr(network, "forward", network.forward)  # to be put back
    with pytest.raises(UsageError, match="no space for objects"):
        compile_now(golden_model.model, torch.device("cpu"))


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
