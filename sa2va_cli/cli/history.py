"""Lines that were typed before: arrow keys bring them back, also in the next session."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_LINES = 1000


def history_path(environ: Mapping[str, str]) -> Path | None:
    """Where state belongs by the XDG rules; None for a user without a home."""
    try:
        folder = Path(environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    except RuntimeError:
        return None
    return folder / "sa2va" / "chat_history"


@contextmanager
def line_history(path: Path | None) -> Iterator[None]:
    """Line editing and history while it lasts. Without readline (Windows), or a place to write,
    there is none, and nothing else changes."""
    try:
        import readline
    except ImportError:
        yield
        return
    with suppress(OSError):
        if path:
            readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(MAX_LINES)
        with suppress(OSError):
            if path:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.touch(mode=0o600)
                readline.write_history_file(path)
