"""The example jobs in configs/ are jobs."""

from pathlib import Path

import pytest

from sa2va_cli.exporters import parse_formats
from sa2va_cli.jobs.checks import check_values
from sa2va_cli.jobs.config_file import make_config
from sa2va_cli.tasks import get_task

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_an_example_can_be_run(path):
    config = make_config(path, {})
    check_values(config)
    assert config.prompts or get_task(config.task).default_prompts
    assert parse_formats(",".join(config.formats)) == config.formats
    assert path.read_text().startswith("# "), "it says what it is for"


def test_there_are_examples():
    assert {"nightly", "categories", "captions", "questions", "video"} <= {p.stem for p in CONFIGS}
