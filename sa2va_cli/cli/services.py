"""What commands need besides their options; tests bring their own model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from sa2va_cli.config import JobConfig
from sa2va_cli.jobs.stop import StopSignals

if TYPE_CHECKING:  # NumPy is not for --help
    from sa2va_cli.jobs.annotator import ModelSource


def sa2va_source(config: JobConfig) -> "ModelSource":
    from sa2va_cli.jobs.model_source import Loading, Sa2vaSource

    return Sa2vaSource(
        config.model,
        config.revision,
        config.offline,
        Loading(config.dtype, config.attention, config.sam2_weights, config.engine, config.compile),
        needs_two_decoders=config.video_mode == "sa2va-i",
        look_only=config.dry_run,
    )


@dataclass(frozen=True, slots=True)
class Services:
    """Handed to commands as the context's object."""

    source_of: "Callable[[JobConfig], ModelSource]" = sa2va_source
    stop: StopSignals = field(default_factory=StopSignals)


def services_of(context: typer.Context) -> Services:
    """Those given to `main`; plain ones when a command runs without it."""
    return context.obj if isinstance(context.obj, Services) else Services()
