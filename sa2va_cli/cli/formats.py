"""Which formats are written: those that were named, else what holds the results."""

from sa2va_cli.exporters import parse_formats

ALWAYS = ("failures",)  # exit code 3 points to it


def chosen_formats(named: str | None, has_videos: bool) -> tuple[str, ...]:
    """Names of formats, each once. Raises UsageError for an unknown one."""
    if named is not None:
        return parse_formats(named)
    return ("coco", "answers", *(("youtube-vis",) if has_videos else ()))  # COCO holds no videos


def with_failures(formats: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*formats, *ALWAYS]))
