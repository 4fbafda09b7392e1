"""Thresholds: the same results, with the masks that fall under them emptied."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sa2va_cli.exporters.base import ExportOptions
from sa2va_cli.masks import Rle, encode_rle
from sa2va_cli.results import Failure, ItemResult, MaskRecord, ResultReader


class FilteredResults:
    """A ResultReader that shows what falls under a threshold as looked for and not there.

    The records stay, so that answers still tell the scores and videos keep all their frames.
    """

    def __init__(self, results: ResultReader, options: ExportOptions) -> None:
        self._results = results
        self._options = options
        self._absent: dict[str, frozenset[int]] = {}  # item_id -> obj_ids under min_presence
        if options.min_presence > 0:
            for _ in self.items():  # masks may be asked for in any order
                pass

    def items(self) -> Iterator[ItemResult]:
        for item in self._results.items():
            if absent := _absent_objects(item, self._options.min_presence):
                self._absent[item.item_id] = absent
            yield item

    def failures(self) -> Iterator[Failure]:
        return self._results.failures()

    def masks(self, item_id: str) -> Iterator[MaskRecord]:
        absent = self._absent.get(item_id, frozenset())
        for mask in self._results.masks(item_id):
            # written so that a score that is no number falls under every threshold
            keep = mask.obj_id not in absent and (
                self._options.min_score <= 0 or mask.score >= self._options.min_score
            )
            yield mask if keep else replace(mask, rle=empty_rle(mask.rle))


def with_thresholds(results: ResultReader, options: ExportOptions) -> ResultReader:
    any_threshold = options.min_score > 0 or options.min_presence > 0
    return FilteredResults(results, options) if any_threshold else results


def empty_rle(rle: Rle) -> Rle:
    height, width = rle["size"]
    return encode_rle(np.zeros((height, width), dtype=bool))


def _absent_objects(item: ItemResult, min_presence: float) -> frozenset[int]:
    """What was asked for under a prompt whose presence is known and too low."""
    prompts = {
        answer.prompt_idx
        for answer in item.answers
        if answer.presence is not None and not answer.presence >= min_presence
    }
    return frozenset(o.obj_id for o in item.objects if o.prompt_idx in prompts)
