"""Lists of paths that other programs write: lines, NUL-separated names, JSON-lines manifests."""

import codecs
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from sa2va_cli.config import Prompt, parse_prompt
from sa2va_cli.errors import UsageError
from sa2va_cli.media.discover import GivenPath

_HINT = 'write {"path": "photo.jpg", "prompts": ["the dog", "car=the red car"]} on each line'


def read_paths(stream: BinaryIO, nul: bool = False) -> list[GivenPath]:
    """Paths from standard input or a --files-from file, one a line, or NUL after each.

    Names are taken byte by byte: only the end of the line is no part of them. Empty ones are
    left out. Relative paths start from the working folder. Raises UsageError for a line with NUL.
    """
    data = stream.read().removeprefix(codecs.BOM_UTF8)  # Windows' editors begin lists with it
    if b"\x00" in data and not nul:
        raise UsageError(
            "The list of paths holds NUL characters, which no name has.",
            hint="add -0 if they stand between the names, as after find -print0",
        )
    names = data.split(b"\x00") if nul else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [GivenPath(os.fsdecode(name)) for name in names if name]


def read_manifest(path: Path) -> list[GivenPath]:
    """One JSON object a line: {"path": …, "prompts": ["the dog", "car=the red car"]}.

    A prompt may also be {"category": …, "text": …}. Relative paths start from the manifest's
    folder. Raises UsageError naming the line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The manifest {path} cannot be read: {error}.", hint=_HINT) from None
    base = str(path.parent)
    return [
        _read_line(line, f"{path}, line {number}", base)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _read_line(line: str, where: str, base: str) -> GivenPath:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise UsageError(f"{where}: no JSON ({error}).", hint=_HINT) from None
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or not entry["path"]:
        raise UsageError(f"{where}: no path.", hint=_HINT)
    if not _is_name(entry["path"]):
        raise UsageError(f"{where}: {entry['path']!a} cannot be the name of a file.", hint=_HINT)
    if unknown := entry.keys() - {"path", "prompts"}:
        raise UsageError(f"{where}: unknown key {min(unknown)!r}.", hint=_HINT)
    prompts = entry.get("prompts", [])
    if not isinstance(prompts, list):
        raise UsageError(f"{where}: prompts is no list.", hint=_HINT)
    each_once = dict.fromkeys(_read_prompt(prompt, where) for prompt in prompts)
    return GivenPath(entry["path"], tuple(each_once), base)


def _is_name(path: str) -> bool:
    try:
        return b"\x00" not in os.fsencode(path)
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False


def _read_prompt(value: Any, where: str) -> Prompt:
    prompt = Prompt("", "")
    if isinstance(value, str):
        prompt = parse_prompt(value)
    elif isinstance(value, dict) and value.keys() == {"category", "text"}:
        prompt = Prompt(str(value["category"]), str(value["text"]))
    if prompt.text.strip():
        return prompt
    raise UsageError(f"{where}: {value!r} is no prompt.", hint=_HINT)
