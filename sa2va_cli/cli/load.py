"""Loading a model for one terminal, with a word about it: that takes a while."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sa2va_cli.models.sa2va.predictor import Sa2VA


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model options of `chat` and `ask`."""

    name: str
    revision: str | None
    offline: bool
    device: str
    dtype: str
    attention: str

    def load(self) -> "Sa2VA":
        """Raises CheckpointError or UsageError."""
        typer.echo(f"loading {self.name} …", err=True)
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        from sa2va_cli.models.sa2va.predictor import Sa2VA  # torch costs seconds

        return Sa2VA.from_pretrained(
            self.name,
            device=self.device,
            dtype=self.dtype,
            attention=self.attention,
            revision=self.revision,
            local_files_only=self.offline,
        )
