"""Globs of --include, --exclude and of quoted paths, compiled once for many names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sa2va_cli.errors import UsageError


def glob_regex(pattern: str) -> str:
    """A glob as a regular expression for whole paths: * and ? stay within a folder, ** does not."""
    parts, at = [], 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            parts.append("(?:[^/]+/)*")
            at += 3
        elif pattern.startswith("**", at):
            parts.append(".*")
            at += 2
        elif (bracket := _bracket_end(pattern, at)) is not None:
            inner = re.sub(r"([\\\[&~|])", r"\\\1", pattern[at + 1 : bracket])
            parts.append(f"[^/{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]")
            at = bracket + 1
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(pattern[at]) or re.escape(pattern[at]))
            at += 1
    return "".join(parts)


def _bracket_end(pattern: str, at: int) -> int | None:
    """Where the [set] that begins here ends; a "]" right after the "[" belongs to the set."""
    if pattern[at] != "[":
        return None
    end = pattern.find("]", at + (3 if pattern[at + 1 : at + 2] in ("!", "^") else 2))
    return None if end < 0 else end


@dataclass(frozen=True, slots=True)
class NameFilter:
    """What to take of what lies in folders. Letter case never matters: *.jpg also means IMG.JPG.

    A pattern without "/" is held against names (of files; for exclude also of folders), one with
    "/" against the path below the given folder. A pattern that ends in "/" means folders only.
    """

    include_paths: re.Pattern[str] | None
    exclude_paths: re.Pattern[str] | None
    exclude_folders: re.Pattern[str] | None

    @classmethod
    def compile(cls, include: Sequence[str], exclude: Sequence[str]) -> "NameFilter":
        """Raises UsageError for a glob that means nothing."""
        inside = [f"**/{pattern}**" for pattern in include if pattern.endswith("/")]
        files = [pattern for pattern in include if not pattern.endswith("/")]
        return cls(
            _compile(files + inside),
            _compile([pattern for pattern in exclude if not pattern.endswith("/")]),
            _compile([pattern.rstrip("/") for pattern in exclude]),
        )

    def takes(self, relative: str) -> bool:
        """Is this file wanted? `relative` has "/" between folders."""
        if self.exclude_paths and self.exclude_paths.fullmatch(relative):
            return False
        return self.include_paths is None or bool(self.include_paths.fullmatch(relative))

    def takes_named(self, relative: str) -> bool:
        """The same for a path that no walk led to: its folders are looked at, too."""
        if self.exclude_folders is None:
            return self.takes(relative)
        folders = relative.split("/")[:-1]
        paths = ("/".join(folders[: depth + 1]) for depth in range(len(folders)))
        return self.takes(relative) and all(self.enters(path) for path in paths)

    def enters(self, relative: str) -> bool:
        """Is anything in this folder wanted?"""
        return not (self.exclude_folders and self.exclude_folders.fullmatch(relative))


def _compile(patterns: Sequence[str]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    regexes = [
        glob_regex(pattern.lstrip("/")) if "/" in pattern else f"(?:.*/)?{glob_regex(pattern)}"
        for pattern in patterns
    ]
    whole = "|".join(f"(?:{regex})" for regex in regexes)
    return _compiled(whole, patterns, re.IGNORECASE)


def compile_glob(pattern: str) -> re.Pattern[str]:
    """For whole paths, as `glob_regex`, letter case kept. Raises UsageError if it means nothing."""
    return _compiled(glob_regex(pattern), [pattern], re.NOFLAG)


def _compiled(regex: str, patterns: Sequence[str], flags: re.RegexFlag) -> re.Pattern[str]:
    try:
        return re.compile(regex, flags | re.DOTALL)
    except re.error as error:  # [z-a]
        raise UsageError(
            f"{' or '.join(patterns)} cannot be read as a glob: {error}.",
            hint="write [a-z] for a range, [[] for the bracket itself",
        ) from None
