"""`sa2va model info`: what a checkpoint is, from its config and the headers of its files alone."""

import json
import math
import shutil
import subprocess
import sys

import pytest

from sa2va_cli.models.sa2va.checkpoint_files import read_inventory


def info(*arguments, code=0):
    command = [sys.executable, "-m", "sa2va_cli.cli", "model", "info", *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == code, run.stderr
    return run.stdout if code == 0 else run.stderr


@pytest.fixture
def checkpoint(golden_checkpoint, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(golden_checkpoint, folder)
    return folder


def facts(text):
    return {line[:18].strip(): line[18:] for line in text.splitlines()}


def test_architecture_sizes_parameters_formats_and_licences_are_told(checkpoint):
    told = facts(info(checkpoint))
    config = json.loads((checkpoint / "config.json").read_text())
    vision, language = config["vision_config"], config["llm_config"]
    assert told["architecture"] == "Sa2VA (InternViT + Qwen2ForCausalLM + SAM 2)"
    assert f"{vision['num_hidden_layers']} layers x {vision['hidden_size']}" in told["vision tower"]
    assert (
        f"x {language['hidden_size']}, vocabulary {language['vocab_size']:,}"
        in (told["language model"])
    )
    parts = ("vision_encoder", "projector", "language_model", "seg_bridge", "segmenter")
    numbers = {name: int(told[name].replace(",", "")) for name in (*parts, "parameters")}
    assert numbers.pop("parameters") == sum(numbers.values())
    assert told["dtype"] == config["torch_dtype"]
    assert "F32" in told["stored as"] and "tensors" in told["stored as"]
    assert told["licence, code"] == "Apache-2.0"
    assert "hub page" in told["licence, weights"]


def test_no_weights_are_needed(checkpoint):
    before = facts(info(checkpoint))
    for file in checkpoint.glob("*.safetensors*"):
        file.unlink()
    after = facts(info(checkpoint))
    assert after.pop("stored as").startswith("unknown: ")
    assert before.pop("stored as")
    assert after == before


def test_the_second_decoder_of_sa2va_i_counts(golden_checkpoint):
    folder = golden_checkpoint.parents[1] / "sa2va-i" / "checkpoint"
    plain, both = info(golden_checkpoint), info(folder)
    assert "two mask decoders (Sa2VA-i)" in both and "two mask decoders" not in plain
    parts = [int(facts(told)["parameters"].replace(",", "")) for told in (plain, both)]
    decoder = "grounding_encoder.sam2_model.sam_mask_decoder_modified."
    tensors = read_inventory(folder)
    numbers = [math.prod(t.shape) for name, t in tensors.items() if name.startswith(decoder)]
    assert parts[1] - parts[0] >= sum(numbers) > 0


def test_the_demo_model_has_a_licence_of_its_own():
    assert facts(info("demo"))["licence, weights"].startswith("Apache-2.0")


def test_what_is_no_checkpoint_ends_with_a_message(tmp_path):
    assert "Error: " in info(tmp_path, code=2)
