"""Sa2VA from the command line and from Python: sentences in, masks out."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sa2va_cli.models.sa2va.predictor import Sa2VA

__version__ = "0.1.0"
__all__ = ["Sa2VA", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the model code only when it is asked for: torch costs seconds, `--help` must not."""
    if name == "Sa2VA":
        from sa2va_cli.models.sa2va.predictor import Sa2VA

        return Sa2VA
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
