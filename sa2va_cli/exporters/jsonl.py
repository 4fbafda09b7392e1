"""JSON lines: what the model answered, what failed, and every result with its masks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sa2va_cli.exporters.base import Exported, ExportOptions
from sa2va_cli.exporters.files import OutputFolder, atomic_file
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.item_json import (
    answer_json,
    header_json,
    identity_json,
    item_json,
    summarise,
)
from sa2va_cli.exporters.numbers import dump_json
from sa2va_cli.results import ItemResult, ResultReader


class AnswersExporter:
    """answers.jsonl: a line for each prompt of each item, with the objects it led to.

    An object that was looked for and is not there has `"found": false`.
    """

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        lines = (line for item in results.items() for line in _answer_lines(item, results))
        return _write_lines(OutputFolder(out_dir).path("answers.jsonl"), lines, "answers")


class FailuresExporter:
    """failures.jsonl: a line for each item that could not be done; empty when all went well."""

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        lines = (
            dump_json(
                {
                    "item_id": failure.item_id,
                    "path": failure.path,
                    "reason": failure.reason,
                    "attempts": failure.attempts,
                }
            )
            for failure in results.failures()
        )
        return _write_lines(OutputFolder(out_dir).path("failures.jsonl"), lines, "failures")


class JsonlExporter:
    """results.jsonl: a line for each item with everything, masks as RLE too."""

    def __init__(self, options: ExportOptions) -> None:
        self._options = options

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        results = with_thresholds(results, self._options)
        lines = (item_json(item, results.masks(item.item_id)) for item in results.items())
        return _write_lines(OutputFolder(out_dir).path("results.jsonl"), lines, "results")


def _answer_lines(item: ItemResult, results: ResultReader) -> Iterator[str]:
    summaries = summarise(item, results.masks(item.item_id))
    for answer in item.answers:
        objects: list[dict[str, Any]] = [
            identity_json(record) | summaries[record.obj_id].to_json(item.kind)
            for record in item.objects
            if record.prompt_idx == answer.prompt_idx
        ]
        yield dump_json(header_json(item) | answer_json(answer, item) | {"objects": objects})


def _write_lines(path: Path, lines: Iterator[str], unit: str) -> Exported:
    count = 0
    with atomic_file(path) as file:
        for line in lines:
            file.write(line.encode("ascii") + b"\n")
            count += 1
    return Exported(path, count, unit)
