"""Prompts from a file: plain lines, YAML, JSON or CSV."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import yaml

from sa2va_cli.config import Prompt, parse_prompt
from sa2va_cli.errors import UsageError

SUFFIXES = (".txt", ".yaml", ".yml", ".json", ".csv")


def is_prompt_file(text: str) -> bool:
    """Whether this is the name of such a file rather than a sentence."""
    return text.lower().endswith(SUFFIXES) and not any(map(str.isspace, text))


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """All prompts of a file, in its order. Raises UsageError for anything else than prompts.

    - txt: one a line; empty lines and lines that begin with # are left out;
    - yaml, json: a list of prompts, or categories with a sentence or a list of sentences;
    - csv: columns `category` and `prompt`, between commas, semicolons or tabs, or one column of
      prompts without a heading.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"Prompts in a {suffix or 'nameless'} file cannot be read.",
            hint=f"use one of {', '.join(SUFFIXES)}",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        prompts = _parse(text, suffix, str(path))
    except (OSError, ValueError, yaml.YAMLError, csv.Error) as error:
        raise UsageError(f"Cannot read prompts from {path}: {error}.") from error
    if not prompts:
        raise UsageError(f"{path} holds no prompt.", hint="write one a line")
    return prompts


def prompts_from(value: Any, where: str) -> tuple[Prompt, ...]:
    """Prompts as YAML and JSON write them: text, a list, or categories with their sentences."""
    if isinstance(value, str):
        return (parse_prompt(value),)
    if isinstance(value, dict):
        return tuple(
            Prompt(_category(category, where), _sentence(sentence, where))
            for category, sentences in value.items()
            for sentence in (sentences if isinstance(sentences, list) else [sentences])
        )
    if isinstance(value, list):
        return tuple(prompt for one in value for prompt in prompts_from(one, where))
    raise UsageError(
        f"{where} holds {value!r}, which is no prompt.",
        hint='write a list of sentences, or "category: sentence" lines',
    )


def _category(value: Any, where: str) -> str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise UsageError(  # YAML takes off, no and on for truth values, 2026-01-02 for a day
        f"{where} holds the category {value!r}, which is no text.",
        hint="put it in quotation marks",
    )


def _sentence(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value.strip()
    raise UsageError(
        f"{where} holds {value!r}, which is no sentence.", hint="put numbers in quotation marks"
    )


def _parse(text: str, suffix: str, where: str) -> tuple[Prompt, ...]:
    if suffix in (".yaml", ".yml"):
        return prompts_from(yaml.safe_load(text) or [], where)
    if suffix == ".json":
        return prompts_from(json.loads(text), where)
    if suffix == ".csv":
        return _parse_csv(text, where)
    lines = (line.strip() for line in text.splitlines())
    return tuple(parse_prompt(line) for line in lines if line and not line.startswith("#"))


def _parse_csv(text: str, where: str) -> tuple[Prompt, ...]:
    rows = _read_rows(text)
    if not rows:
        return ()
    heading = [cell.lower() for cell in rows[0][1]]
    if "prompt" not in heading and len(heading) > 1:
        raise UsageError(
            f"{where} has no column `prompt`.", hint="name the columns: category,prompt"
        )
    _check_lengths(rows, heading, where)
    if "prompt" not in heading:
        return tuple(parse_prompt(row[0]) for _, row in rows)
    return tuple(_named(dict(zip(heading, row, strict=False))) for _, row in rows[1:])


def _check_lengths(rows: list[tuple[int, list[str]]], heading: list[str], where: str) -> None:
    least = heading.index("prompt") + 1 if "prompt" in heading else 1
    for number, row in rows[1:]:
        if len(row) > len(heading):
            raise UsageError(
                f"{where}, line {number}, has more cells than the first line.",
                hint='put sentences that hold the separator in quotation marks: "a, b"',
            )
        if len(row) < least:
            raise UsageError(
                f"{where}, line {number}, is a row without a prompt: {','.join(row)}.",
                hint="give each row as many cells as the heading has",
            )


def _named(cells: dict[str, str]) -> Prompt:
    return Prompt(cells.get("category") or cells["prompt"], cells["prompt"])


def _read_rows(text: str) -> list[tuple[int, list[str]]]:
    """Rows that are not empty, without empty cells at their ends, and the numbers of their lines.

    Some spreadsheets (Excel in Europe) write semicolons: the first line tells.
    """
    heading = next((line.lower() for line in text.splitlines() if line.strip()), "")
    separators = (one for one in ";\t" if one in heading and "prompt" in _cells(heading, one))
    reader = csv.reader(io.StringIO(text), delimiter=next(separators, ","))
    rows = []
    for row in reader:
        cells = [cell.strip() for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            rows.append((reader.line_num, cells))
    return rows


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for row in csv.reader([line], delimiter=separator) for cell in row]
