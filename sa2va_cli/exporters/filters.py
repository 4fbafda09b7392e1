"""Thresholds: the same results, with the masks that fall under them emptied."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sa2va_cli.masks import Rle, encode_rle
from sa2va_cli.results import Failure, ItemResult, MaskRecord, ResultReader


class FilteredResults:
    """A ResultReader that shows a mask under `min_score` as looked for and not there.

    The record stays, so that answers still tell the score and videos keep all their frames.
    """

    def __init__(self, results: ResultReader, min_score: float) -> None:
        self._results = results
        self._min_score = min_score

    def items(self) -> Iterator[ItemResult]:
        return self._results.items()

    def failures(self) -> Iterator[Failure]:
        return self._results.failures()

    def masks(self, item_id: str) -> Iterator[MaskRecord]:
        for mask in self._results.masks(item_id):
            # written so that a score that is no number falls under every threshold
            keep = mask.score >= self._min_score
            yield mask if keep else replace(mask, rle=empty_rle(mask.rle))


def empty_rle(rle: Rle) -> Rle:
    height, width = rle["size"]
    return encode_rle(np.zeros((height, width), dtype=bool))


def with_thresholds(results: ResultReader, min_score: float) -> ResultReader:
    return FilteredResults(results, min_score) if min_score > 0 else results
