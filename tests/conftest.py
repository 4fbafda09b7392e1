"""What many tests need: the golden checkpoint, loaded once, and one thread each for torch."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # processes that tests start share two cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test leaves this machine


def pytest_configure(config: pytest.Config) -> None:
    """All but the tests that ask for a GPU run on the processor, on a box with GPUs, too."""
    if "gpu" not in config.option.markexpr.replace("not gpu", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


GOLDEN = Path(__file__).parent / "data" / "golden" / "internvl-qwen2"


@pytest.fixture(scope="session")
def golden_checkpoint() -> Path:
    return GOLDEN / "checkpoint"


@pytest.fixture(scope="session")
def golden_model(golden_checkpoint):
    from sa2va_cli import Sa2VA

    return Sa2VA.from_pretrained(str(golden_checkpoint), device="cpu")
