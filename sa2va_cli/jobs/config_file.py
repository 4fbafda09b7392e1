"""Config files: YAML whose keys are the options of `sa2va annotate`, each checked by name and type.

Relative paths start from the working folder, as on the command line.
"""

import difflib
import os
import types
from dataclasses import fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from sa2va_cli.config import JobConfig, Prompt
from sa2va_cli.errors import UsageError
from sa2va_cli.jobs.prompt_file import is_prompt_file, prompts_from, read_prompts

SPELLINGS = {"prompt": "prompts", "format": "formats", "input": "inputs"}  # as the options have it
KINDS = {
    bool: "yes or no",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
}


def read_config_file(path: Path) -> dict[str, Any]:
    """Values by field name of JobConfig. Raises UsageError naming the file and the key."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"Cannot read the config file {path}: {error}.", hint="is it YAML? See configs/"
        ) from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise UsageError(f"{path} is not a list of options.", hint='write "key: value" lines')
    hints = get_type_hints(JobConfig)
    values = {}
    for key, value in raw.items():
        key = "null" if key is None else str(key)  # as YAML takes this word
        name = _field_name(path, key)
        if name == "presence" and value is False:
            value = "off"  # YAML takes the word for a boolean
        if value is not None:
            values[name] = _checked(path, key, value, hints[name])
    return values


def make_config(config_file: Path | None, given: dict[str, Any]) -> JobConfig:
    """A file's options under those given on the command line, which win.

    The environment variable SA2VA_MODEL comes last: a default of this machine.
    """
    from_file = read_config_file(config_file) if config_file else {}
    of_machine = {"model": os.environ["SA2VA_MODEL"]} if os.environ.get("SA2VA_MODEL") else {}
    return JobConfig(**(of_machine | from_file | given))


def _field_name(path: Path, key: str) -> str:
    known = [field.name for field in fields(JobConfig)]
    name = key.replace("-", "_")
    name = SPELLINGS.get(name, name)
    if name in known:
        return name
    near = difflib.get_close_matches(name, [*known, *SPELLINGS], n=1, cutoff=0.0)
    raise UsageError(
        f"Unknown key {key!r} in {path}.", hint=f"did you mean {near[0].replace('_', '-')!r}?"
    )


def _checked(path: Path, key: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) is tuple:
        if get_args(hint)[0] is Prompt:
            if isinstance(value, str) and is_prompt_file(value):
                return read_prompts(Path(value))
            return prompts_from(value, f"{key} in {path}")
        values = value if isinstance(value, list) else [value]
        return tuple(_scalar(path, key, one, str) for one in values)
    kind = hint
    if get_origin(hint) in (Union, types.UnionType):
        kind = next(part for part in get_args(hint) if part is not type(None))
    return _scalar(path, key, value, kind)


def _scalar(path: Path, key: str, value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # devices: 0
    if isinstance(value, kind) and not (kind is not bool and isinstance(value, bool)):
        return value
    raise UsageError(
        f"{key} in {path} must be {KINDS[kind]}, not {value!r}.", hint="see configs/ for examples"
    )
