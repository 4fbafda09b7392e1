"""Values that no run could use, told before anything is done."""

import errno
import os
from pathlib import Path
from typing import get_args

from sa2va_cli.config import JobConfig
from sa2va_cli.errors import UsageError, unknown_name
from sa2va_cli.results import KeySampling, VideoMode

PRESENCES = ("off", "ask")


def check_values(config: JobConfig) -> None:
    """Raises UsageError for the first value that is out of its range or against another one."""
    checks = (
        (
            config.max_pixels is None or config.max_pixels >= 1,
            f"--max-pixels {config.max_pixels}",
            "give width times height of the largest picture to open",
        ),
        (
            config.key_frames >= 1,
            f"--key-frames {config.key_frames}",
            "give how many frames the language model sees; published models learned on 5",
        ),
        (
            config.key_sampling in get_args(KeySampling),
            f"--key-sampling {config.key_sampling}",
            f"choose one of {', '.join(get_args(KeySampling))}",
        ),
        (
            config.video_mode in get_args(VideoMode),
            f"--video-mode {config.video_mode}",
            f"choose one of {', '.join(get_args(VideoMode))}",
        ),
        (
            config.window is None or config.window >= 2,
            f"--window {config.window}",
            "give how many frames a window has: hundreds, as a rule",
        ),
        (
            config.overlap is None or 1 <= config.overlap < (config.window or 0),
            f"--overlap {config.overlap}",
            "give how many frames two windows share: 1 or more, and fewer than --window has",
        ),
        (
            config.engine != "plain" or (config.window is None and not config.track_all),
            "--engine plain with --window or --track-all",
            "it works as the reference does, which looks at a video once, and at every frame",
        ),
        (
            config.engine != "plain"
            or (config.key_sampling == "first" and config.video_mode != "sa2va-i"),
            "--engine plain with --key-sampling uniform or --video-mode sa2va-i",
            "it works as the reference does, which sees the first frames",
        ),
        (
            config.engine != "plain" or not config.compile,
            "--engine plain with --compile",
            "it is for checking the other; leave one of them out",
        ),
        (
            config.item_timeout > 0,
            f"--item-timeout {config.item_timeout}",
            "give seconds; the default of 600 suits most machines",
        ),
    )
    for fine, option, hint in checks:
        if not fine:
            raise UsageError(f"{option} cannot be used.", hint=hint)
    _check_presence(config)
    for prompt in config.prompts:
        if not prompt.text:
            raise UsageError(
                "There is an empty prompt.", hint='write what to look for: -p "the red car"'
            )


def _check_presence(config: JobConfig) -> None:
    if config.presence not in PRESENCES:
        raise unknown_name("presence", config.presence, PRESENCES)
    if config.presence == "ask" and config.task != "segment":
        raise UsageError(
            f"--presence ask does not go with --task {config.task}.",
            hint="presence is about prompts that name things: --task segment",
        )
    if config.min_presence > 0 and config.presence != "ask":
        raise UsageError("--min-presence needs to know what is there.", hint="add --presence ask")


def check_output(output: Path, *, writing: bool = True) -> None:
    """The job folder is one, or can be made. Raises UsageError; writes nothing itself."""
    try:
        output.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(
                f"The name of the output folder {output} is too long.", hint="give a shorter one"
            ) from None
    if os.access(output, os.F_OK) and not output.is_dir():
        raise UsageError(f"The output {output} is not a folder.", hint="name a folder with -o")
    folders = (output, *output.resolve().parents)
    existing = next(folder for folder in folders if os.access(folder, os.F_OK))
    if writing and not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"You may not write to {existing}.", hint="name another folder with -o")
