"""Golden cases: what was asked, and what the reference answered."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CASES = Path(__file__).parents[1] / "data" / "golden" / "internvl-qwen2" / "cases"


@dataclass(frozen=True)
class GoldenCase:
    name: str
    arguments: dict[str, Any]  # of predict_forward
    overrides: dict[str, dict[str, Any]]  # of config.json
    expected: dict[str, np.ndarray]

    @property
    def num_masks(self) -> int:
        return sum(f"masks_{i}_shape" in self.expected for i in range(10))

    def masks(self, index: int) -> np.ndarray:
        shape = self.expected[f"masks_{index}_shape"]
        return unpack(self.expected[f"masks_{index}"], shape)


def unpack(bits: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return np.unpackbits(bits)[: np.prod(shape)].reshape(shape).astype(bool)


@pytest.fixture(scope="session")
def golden_case():
    def load(name: str) -> GoldenCase:
        folder = CASES / name
        case = json.loads((folder / "case.json").read_text())
        arguments = {"text": case["text"], "past_text": case.get("past_text", "")}
        if "image" in case:
            arguments["image"] = Image.open(folder / case["image"])
        if "frames" in case:
            arguments["video"] = [Image.open(folder / frame) for frame in case["frames"]]
        if "mask_prompts" in case:
            packed = np.load(folder / case["mask_prompts"])
            arguments["mask_prompts"] = [unpack(packed["masks"], packed["shape"])]
        expected = dict(np.load(folder / "expected.npz"))
        return GoldenCase(name, arguments, case.get("config_overrides", {}), expected)

    return load


@pytest.fixture(scope="session")
def full_size_model(golden_checkpoint, tmp_path_factory):
    """The same weights with SAM 2 at its real picture size."""
    from sa2va_cli import Sa2VA

    folder = tmp_path_factory.mktemp("full_size") / "checkpoint"
    shutil.copytree(golden_checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    config["grounding_encoder_config"]["image_size"] = 1024
    (folder / "config.json").write_text(json.dumps(config))
    return Sa2VA.from_pretrained(str(folder), device="cpu")


@pytest.fixture
def model_for(golden_model, full_size_model):
    return lambda case: full_size_model if case.overrides else golden_model
