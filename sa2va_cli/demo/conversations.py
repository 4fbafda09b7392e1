"""Questions and answers as rows of tokens, many behind one picture.

All rows of a picture share its tokens: a sequence is the picture followed by the rows, and each row
attends to the picture and to itself only, exactly as if it stood there alone.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from sa2va_cli.demo.build import GRID
from sa2va_cli.demo.phrases import Facts
from sa2va_cli.demo.questions import Exchange, ask
from sa2va_cli.demo.tokenizer import train_tokenizer
from sa2va_cli.models.sa2va.conversation import Picture

MIX = {
    "attribute": 9,
    "superlative": 8,
    "relation": 11,
    "plural": 7,
    "several": 5,
    "absent": 15,
    "count": 22,
    "exists": 8,
    "has_color": 3,
    "color": 2,
    "shape": 2,
    "caption": 5,
    "description": 1,
    "region": 10,
}
VIDEO_MIX = {"attribute": 10, "plural": 2, "several": 3, "absent": 3, "exists": 1}
SECOND_TURNS = 0.1
TEXT = -1  # in place of a visual token's number
NO_LABEL = -100
QUESTION_END = "<|im_end|>\n<|im_start|>assistant\n"
TURN_END = "\n<|im_start|>user\n"


@dataclass(slots=True)
class Row:
    """The tokens of one conversation behind a picture."""

    ids: list[int]
    visual: list[int]  # the visual token that stands here, or TEXT
    labels: list[int]
    exchanges: list[Exchange]
    answers: list[int]  # for each exchange, where its answer begins
    segs: list[int]  # where [SEG] stands
    told: list[tuple[int, Exchange, tuple[int, ...]]]  # where words tell of these things


@dataclass(frozen=True, slots=True)
class Sequences:
    """B pictures with their rows, padded to one length L."""

    ids: Tensor  # (B, L)
    visual: Tensor  # (B, L) number of the visual token, or TEXT
    labels: Tensor  # (B, L)
    rows: Tensor  # (B, L) 0 for the picture, then 1, 2, …; -1 for padding
    positions: Tensor  # (B, L)

    def attention_mask(self) -> Tensor:
        """(B, 1, L, L) float32, to be added: 0 where a token may see another, else -inf."""
        length = self.ids.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=self.ids.device).tril()
        keys, queries = self.rows[:, None], self.rows[:, :, None]
        allowed = causal & ((keys == 0) | (keys == queries))
        mask = torch.zeros(allowed.shape, device=self.ids.device)
        return mask.masked_fill_(~allowed, -torch.inf)[:, None]


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """Made once in each process; it is the one that is shipped."""
    return train_tokenizer()


def encode(text: str) -> list[int]:
    return list(tokenizer().encode(text).ids)


def token_id(token: str) -> int:
    found = tokenizer().token_to_id(token)
    assert found is not None, token
    return found


def choose_exchanges(
    rng: random.Random, facts: Facts, count: int, mix: Mapping[str, int]
) -> list[Exchange]:
    """`count` different questions, fewer when the picture offers fewer."""
    kinds, weights = list(mix), list(mix.values())
    exchanges: dict[tuple[str, str], Exchange] = {}
    for _ in range(4 * count):
        if len(exchanges) == count:
            break
        exchange = ask(rng, rng.choices(kinds, weights)[0], facts)
        if exchange is not None:
            exchanges.setdefault((exchange.question, exchange.answer), exchange)
    return list(exchanges.values())


def into_rows(rng: random.Random, exchanges: list[Exchange], regions: "RegionCells") -> list[Row]:
    """One row for each exchange; now and then two of them follow each other in one row."""
    rows: list[Row] = []
    for exchange in exchanges:
        follows = rows and not exchange.regions and len(rows[-1].exchanges) == 1
        if follows and rng.random() < SECOND_TURNS:
            _append(rows[-1], encode(TURN_END))
            _append_exchange(rows[-1], exchange)
            continue
        row = Row([], [], [], [], [], [], [])
        if exchange.regions:
            _append_regions(row, regions[exchange.regions])
        _append_exchange(row, exchange)
        rows.append(row)
    return rows


RegionCells = dict[tuple[int, ...], list[np.ndarray]]


def _append(row: Row, ids: Sequence[int], labels: bool = False) -> None:
    row.ids += ids
    row.visual += [TEXT] * len(ids)
    row.labels += ids if labels else [NO_LABEL] * len(ids)


def _append_regions(row: Row, regions: list[np.ndarray]) -> None:
    context = token_id("<IMG_CONTEXT>")
    before = f"\nThere are {len(regions)} part regions in the picture: "
    for number, cells in enumerate(regions, start=1):
        _append(row, encode(f"{before}region{number}<vp>"))
        row.ids += [context] * len(cells)
        row.visual += [int(cell) for cell in cells]
        row.labels += [NO_LABEL] * len(cells)
        before = "</vp>, "
    _append(row, encode("</vp>"))


def _append_exchange(row: Row, exchange: Exchange) -> None:
    seg = token_id("[SEG]")
    before = ".\n" if exchange.regions else ""
    _append(row, encode(before + exchange.question + QUESTION_END))
    answer = encode(exchange.answer + "<|im_end|>")
    row.exchanges.append(exchange)
    row.answers.append(len(row.ids))
    row.segs += [len(row.ids) + place for place, token in enumerate(answer) if token == seg]
    row.told += [
        (len(row.ids) + place, exchange, things) for place, things in _told(exchange, answer)
    ]
    _append(row, answer, labels=True)


def _told(exchange: Exchange, answer: list[int]) -> list[tuple[int, tuple[int, ...]]]:
    """The tokens after which something is said about a thing, and which thing that is."""
    if not exchange.targets:
        telling = exchange.kind in ("color", "shape", "region") and len(exchange.about) == 1
        alone = exchange.about if telling else ()
        return [(place, alone) for place in range(len(answer) - 2) if alone]
    begin, end = token_id("<p>"), token_id("</p>")
    begins = [place for place, token in enumerate(answer) if token == begin]
    ends = [place for place, token in enumerate(answer) if token == end]
    return [
        (place, things)
        for first, last, things in zip(begins, ends, exchange.targets, strict=False)
        for place in range(first, last)
    ]


def picture_prefix(frames: int) -> Row:
    """The user's turn up to the last `</img>`."""
    text = "<|im_start|>user\n" + Picture(frames, GRID * GRID, is_video=frames > 1).text
    ids = encode(text)
    context = token_id("<IMG_CONTEXT>")
    visual, seen = [], 0
    for token in ids:
        visual.append(seen if token == context else TEXT)
        seen += token == context
    return Row(ids, visual, [NO_LABEL] * len(ids), [], [], [], [])


def pack(rows_of_pictures: list[list[Row]], frames: int = 1) -> tuple[Sequences, list[list[int]]]:
    """Put the rows behind their pictures; also returns where each row begins."""
    prefix = picture_prefix(frames)
    packed = [_behind(prefix, rows) for rows in rows_of_pictures]
    padding = (0, TEXT, NO_LABEL, -1, 0)
    tensors = [
        _padded(column, fill)
        for column, fill in zip(zip(*packed, strict=True), padding, strict=True)
    ]
    return Sequences(*tensors), [_starts(prefix, rows) for rows in rows_of_pictures]


def seg_places(rows: list[Row], starts: list[int]) -> list[int]:
    """Where in the sequence of a picture the [SEG] of all its rows stand."""
    return [start + seg for row, start in zip(rows, starts, strict=True) for seg in row.segs]


def _behind(prefix: Row, rows: list[Row]) -> tuple[list[int], ...]:
    """Ids, visual tokens, labels, rows and positions of one picture's sequence."""
    ids, visual, labels = [*prefix.ids], [*prefix.visual], [*prefix.labels]
    first = len(prefix.ids)
    owners, positions = [0] * first, [*range(first)]
    for number, row in enumerate(rows, start=1):
        ids += row.ids
        visual += row.visual
        labels += row.labels
        owners += [number] * len(row.ids)
        positions += range(first, first + len(row.ids))  # each goes on where the picture ends
    return ids, visual, labels, owners, positions


def _starts(prefix: Row, rows: list[Row]) -> list[int]:
    lengths = (len(row.ids) for row in (prefix, *rows[:-1]))
    return list(accumulate(lengths)) if rows else []


def _padded(lists: Sequence[list[int]], fill: int) -> Tensor:
    longest = max(len(values) for values in lists)
    return torch.tensor([values + [fill] * (longest - len(values)) for values in lists])
