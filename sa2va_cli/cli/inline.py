"""Pictures in the terminal itself, where it says that it can show them: kitty and iTerm2."""

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

MAX_SIDE = 640  # pixels: a glance, not an inspection; the path is printed too
CHUNK = 4096  # letters that kitty takes at once
_KITTY, _ITERM = {"kitty", "ghostty"}, {"iTerm.app", "WezTerm", "mintty"}

Protocol = Callable[[bytes], str]  # PNG -> what to print


def inline_protocol(environ: Mapping[str, str]) -> Protocol | None:
    """How this terminal takes pictures, by its environment; None if it does not."""
    program, term = environ.get("TERM_PROGRAM", ""), environ.get("TERM", "")
    if "TMUX" in environ or term.startswith(("screen", "tmux", "dumb")):
        return None  # they swallow pictures, or print them as letters
    if "KITTY_WINDOW_ID" in environ or term == "xterm-kitty" or program in _KITTY:
        return kitty
    if program in _ITERM or environ.get("LC_TERMINAL") == "iTerm2":
        return iterm2
    return None


def kitty(png: bytes) -> str:
    data = base64.b64encode(png).decode("ascii")
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    parts = []
    for index, chunk in enumerate(chunks):
        more = f"m={int(index + 1 < len(chunks))}"
        parts.append(f"\033_G{'a=T,f=100,q=2,' if index == 0 else ''}{more};{chunk}\033\\")
    return "".join(parts)


def iterm2(png: bytes) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f"\033]1337;File=inline=1;size={len(png)};preserveAspectRatio=1:{data}\a"


def small_png(path: Path) -> bytes:
    """A picture of ours, small enough for a terminal."""
    with Image.open(path) as image:
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
    return buffer.getvalue()
