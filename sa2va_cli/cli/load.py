"""Options and model for one terminal: as a job would have them, without a job."""

from typing import TYPE_CHECKING, Any

import typer

from sa2va_cli.config import JobConfig
from sa2va_cli.jobs.checks import check_values
from sa2va_cli.jobs.config_file import make_config

if TYPE_CHECKING:
    from sa2va_cli.models.sa2va.predictor import Sa2VA


def talk_config(given: dict[str, Any]) -> JobConfig:
    """Options that a job has, too, by their names there; None is not given. Raises UsageError."""
    config = make_config(None, {name: value for name, value in given.items() if value is not None})
    check_values(config)
    return config


def load_model(config: JobConfig, device: str) -> "Sa2VA":
    """With a word about it: that takes a while. Raises CheckpointError or UsageError."""
    compiling = " and compiling it: minutes, the first time" if config.compile else ""
    typer.echo(f"loading {config.model}{compiling} …", err=True)
    from sa2va_cli.models.sa2va.predictor import Sa2VA  # torch costs seconds

    return Sa2VA.from_pretrained(
        config.model,
        device=device,
        dtype=config.dtype,
        attention=config.attention,
        revision=config.revision,
        local_files_only=config.offline,
        sam2_weights=config.sam2_weights,
        compile=config.compile,
    )
