"""Values that no run could use, told before anything is done."""

from sa2va_cli.config import JobConfig
from sa2va_cli.errors import UsageError


def check_values(config: JobConfig) -> None:
    """Raises UsageError for the first value that is out of its range or against another one."""
    checks = (
        (config.every >= 1, f"--every {config.every}", "1 takes every frame, 5 every fifth"),
        (config.fps is None or config.fps > 0, f"--fps {config.fps}", "give frames a second"),
        (config.start >= 0, f"--start {config.start}", "give seconds from the beginning"),
        (
            config.end is None or config.end > config.start,
            f"--end {config.end}",
            f"it must come after --start {config.start:g}",
        ),
        (
            config.max_frames is None or config.max_frames >= 1,
            f"--max-frames {config.max_frames}",
            "give 1 or more",
        ),
        (
            config.max_pixels is None or config.max_pixels >= 1,
            f"--max-pixels {config.max_pixels}",
            "give width times height of the largest picture to open",
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
    for prompt in config.prompts:
        if not prompt.text:
            raise UsageError(
                "There is an empty prompt.", hint='write what to look for: -p "the red car"'
            )
