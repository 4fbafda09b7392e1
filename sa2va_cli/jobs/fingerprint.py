"""Which settings the results of a job depend on, and how two sets of them differ."""

import json
from pathlib import Path
from typing import Any

from sa2va_cli.config import JobConfig, spell_prompt

Settings = dict[str, Any]  # JSON values by option name

# Options that change results. The others say what is made of the results, or where and how fast
# they are computed: that rounds otherwise, and `dtype` "auto" is not the same on every kind of
# device, but a job that was begun on one machine may go on on another. What is in the file of
# `sam2_weights` is part of the model's revision. `max_pixels` decides whether a picture is opened,
# not what is made of it: who raises it wants what failed, not everything again.
RESULT_OPTIONS = (
    "task",
    "presence",
    "regions",
    "fps",
    "every",
    "start",
    "end",
    "max_frames",
    "track_all",
    "key_frames",
    "key_sampling",
    "window",
    "overlap",
    "video_mode",
    "model",
    "dtype",
)
NO_LONGER = ("max_pixels",)  # settings in older jobs, which go on
MAX_SHOWN = 120  # letters of a value in a sentence


def job_settings(config: JobConfig, model_revision: str) -> Settings:
    """Everything that an item's result depends on, except the item."""
    settings = {name: _plain(getattr(config, name)) for name in RESULT_OPTIONS}
    settings["prompts"] = [spell_prompt(prompt) for prompt in config.prompts]
    settings["model_revision"] = model_revision
    if config.engine != "fast":  # the last bits differ
        settings["engine"] = config.engine
    return settings


def dump_settings(settings: Settings) -> str:
    """The same text for the same settings."""
    return json.dumps(settings, sort_keys=True, ensure_ascii=True)


def differences(old: Settings, new: Settings) -> list[str]:
    """ "prompts: … -> …" for each setting that is not the same, sorted by name."""
    return [
        f"{name}: {_show(old.get(name))} -> {_show(new.get(name))}"
        for name in sorted(old.keys() | new.keys())
        if name not in NO_LONGER
        and old.get(name) != new.get(name)
        and not _same_weights(name, old, new)
    ]


def _same_weights(name: str, old: Settings, new: Settings) -> bool:
    """A model that was moved or renamed is still the same model."""
    return name == "model" and old.get("model_revision") == new.get("model_revision")


def _plain(value: object) -> Any:
    if isinstance(value, Path):  # the same one, however it is spelt, and from whatever folder
        return str(value.resolve())
    return value if isinstance(value, str | int | float | None) else str(value)


def _show(value: object) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    text = text if value not in (None, []) else "none"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
