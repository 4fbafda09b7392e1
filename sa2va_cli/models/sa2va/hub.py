"""Where a model is: a folder, the built-in demo, or a name on the Hugging Face hub."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sa2va_cli.errors import CheckpointError, UsageError
from sa2va_cli.models.sa2va.checkpoint_files import ALLOWED_FILES, fingerprint

DEMO = "demo"
CONFIG_ONLY = ("config.json",)
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint on this machine."""

    folder: Path
    revision: str  # the hub's commit, or a fingerprint of the folder's files


def locate(
    name_or_path: str,
    revision: str | None,
    *,
    local_files_only: bool,
    patterns: tuple[str, ...] = ALLOWED_FILES,
) -> Source:
    """Find a checkpoint, downloading it from the hub if its name says so.

    HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are respected. Only weights, config and
    tokenizer files are ever downloaded, and of these what `patterns` names. Raises CheckpointError
    if there is nothing to load, UsageError for the revision of a folder.
    """
    folder = local_folder(name_or_path, revision)
    if folder is not None:
        return Source(folder, fingerprint(folder))
    folder = download(name_or_path, revision, local_files_only=local_files_only, patterns=patterns)
    return Source(folder, folder.name)  # the snapshot's folder is named after the commit


def local_folder(name_or_path: str, revision: str | None) -> Path | None:
    """The folder of a checkpoint that is here; None if it is a name on the hub.

    Raises CheckpointError for what is neither, UsageError for the revision of a folder.
    """
    folder = demo_folder() if name_or_path == DEMO else Path(name_or_path)
    with suppress(RuntimeError):  # ~somebody without a home: a name like any other
        folder = folder.expanduser()
    # Path.is_dir and Path.exists raise for names that are too long for a file.
    if os.path.isdir(folder):
        if revision is not None:
            raise UsageError(
                f"The model {name_or_path} is a folder here: it has no revision {revision!r}.",
                hint="leave --revision out, or give the model's name on the hub",
            )
        return folder
    if os.path.exists(folder):
        raise CheckpointError(
            f"{name_or_path} is a file, not a checkpoint folder.",
            hint="give the folder that holds config.json and the safetensors files",
        )
    if not looks_like_hub_name(name_or_path):
        raise CheckpointError(
            f"No model folder {name_or_path}.",
            hint="give an existing folder, a hub name such as ByteDance/Sa2VA-4B, or 'demo'",
        )
    return None


def demo_folder() -> Path:
    """The small checkpoint that ships with the package."""
    return Path(str(files("sa2va_cli"))) / "demo" / "checkpoint"


def looks_like_hub_name(name: str) -> bool:
    """`owner/model`, and nothing that is a path on any system."""
    return HUB_NAME.fullmatch(name) is not None


def download(
    name: str,
    revision: str | None,
    *,
    local_files_only: bool,
    patterns: tuple[str, ...],
) -> Path:
    """The snapshot folder of a hub model, fetched if it is not in the cache."""
    # Imported here: it costs most of a second, and a folder does not need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    # What its HTTP client raises when a connection breaks has, in newer versions, no other base.
    broken_off = HfHubHTTPError.__bases__
    try:
        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=local_files_only,
            )
        )
    except (OSError, ValueError, *broken_off) as error:  # all of the hub's errors are one of these
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        at = f" at revision {revision}" if revision else ""
        raise CheckpointError(
            f"Cannot get model {name!r}{at}: {reason}",
            hint="no such folder is here, so the hub was asked: check the name, the network and "
            "HF_TOKEN for gated models; offline, only what was downloaded before can be used",
        ) from error


def config_folder(name_or_path: str, revision: str | None, *, local_files_only: bool) -> Path:
    """A folder with at least config.json: a local one as it is, of a hub model this file only."""
    return local_folder(name_or_path, revision) or download(
        name_or_path, revision, local_files_only=local_files_only, patterns=CONFIG_ONLY
    )
