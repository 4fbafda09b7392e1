"""What --compile needs on this machine, told without torch, and where it keeps what it made."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from sa2va_cli.errors import UsageError

COMPILERS = ("g++", "clang++", "c++")


def check_compiler(*, on_gpu: bool) -> None:
    """Raises UsageError if what torch.compile needs is not here."""
    named = os.environ.get("CXX")
    if not any(shutil.which(name) for name in ([named] if named else COMPILERS)):
        raise UsageError(
            f"--compile needs a C++ compiler, and there is no {named or 'g++'}.",
            hint="install one (apt install g++), name it in CXX, or leave --compile out",
        )
    if on_gpu and find_spec("triton") is None:
        raise UsageError(
            "--compile needs triton on a GPU.", hint="pip install triton, or leave --compile out"
        )


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/sa2va/compiled, by default under ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "sa2va" / "compiled"
