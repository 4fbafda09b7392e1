"""The results of a job, for everyone who only reads: sorted, in pages, while a run goes on.

A page is one short query: the file is never held for long, so that a run can write to it.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sa2va_cli.jobs.schema import DONE, FAILED, open_existing, store_path
from sa2va_cli.media.item import ItemKind
from sa2va_cli.results import (
    AnswerRecord,
    Failure,
    FrameRun,
    ItemResult,
    MaskRecord,
    ObjectRecord,
    WindowRecord,
)

PAGE_ROWS = 500
ITEM_COLUMNS = "item_id, item, path, kind, height, width, num_frames, fps, notes, frames"


class StoreReader:
    """The ResultReader of a job folder. Raises JobError when the folder holds no job."""

    def __init__(self, job_dir: Path) -> None:
        self._connection = open_existing(store_path(job_dir))

    def __enter__(self) -> "StoreReader":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def items(self) -> Iterator[ItemResult]:
        """Finished items, sorted by item_id, each as it is when its turn comes.

        A run may do some of them anew in the meantime; what is not done then is left out.
        """
        ids = "SELECT item_id FROM items WHERE state = ? AND item_id > ? ORDER BY item_id LIMIT ?"
        query = f"SELECT {ITEM_COLUMNS} FROM items WHERE item_id = ? AND state = ?"
        for (item_id,) in self._pages(ids, DONE):
            with self._at_once():
                rows = self._rows(query, item_id, DONE)
                items = [self._item(row) for row in rows]
            yield from items

    def item(self, number: int) -> ItemResult:
        """One finished item by its number in the store."""
        query = f"SELECT {ITEM_COLUMNS} FROM items WHERE item = ?"
        return self._item(self._rows(query, number)[0])

    def has_videos(self) -> bool:
        """Among the finished items."""
        query = "SELECT 1 FROM items WHERE state = ? AND kind != 'image' LIMIT 1"
        return bool(self._rows(query, DONE))

    def masks(self, item_id: str) -> Iterator[MaskRecord]:
        """Masks of one finished item, sorted by frame_idx, then obj_id."""
        row = self._rows("SELECT item FROM items WHERE item_id = ? AND state = ?", item_id, DONE)
        if not row:
            return
        query = (
            "SELECT frame_idx, obj_id, height, width, counts, score, object_score FROM masks "
            "WHERE item = ? AND (frame_idx, obj_id) > (?, ?) ORDER BY frame_idx, obj_id LIMIT ?"
        )
        last = (-1, -1)
        while page := self._rows(query, row[0][0], *last, PAGE_ROWS):
            for frame_idx, obj_id, height, width, counts, score, object_score in page:
                rle = {"size": [height, width], "counts": counts}
                yield MaskRecord(frame_idx, obj_id, rle, score, object_score)  # type: ignore[arg-type]
            last = page[-1][:2]

    def failures(self) -> Iterator[Failure]:
        """Failed items, sorted by item_id."""
        query = (
            "SELECT item_id, path, reason, attempts FROM items JOIN failures USING (item) "
            "WHERE state = ? AND item_id > ? ORDER BY item_id LIMIT ?"
        )
        for item_id, path, reason, attempts in self._pages(query, FAILED):
            yield Failure(item_id, _text(path), reason, attempts)

    def originals(self) -> Iterator[tuple[str, ItemKind, int, int]]:
        """Path, kind, length and time of what each finished item was made of."""
        query = (
            "SELECT item_id, path, kind, size, mtime_ns FROM items "
            "WHERE state = ? AND item_id > ? ORDER BY item_id LIMIT ?"
        )
        for _, path, kind, size, mtime_ns in self._pages(query, DONE):
            yield os.fsdecode(path), kind, size, mtime_ns

    def _pages(self, query: str, state: str) -> Iterator[tuple[Any, ...]]:
        """Rows of a query whose first column is item_id, a page at a time."""
        last = ""
        while page := self._rows(query, state, last, PAGE_ROWS):
            yield from page
            last = page[-1][0]

    def _item(self, row: tuple[Any, ...]) -> ItemResult:
        item_id, item, path, kind, height, width, num_frames, fps, notes, frames = row
        answers = self._rows(
            "SELECT prompt_idx, category, prompt, question, text, raw_text, presence "
            "FROM answers WHERE item = ? ORDER BY prompt_idx",
            item,
        )
        objects = self._rows(
            "SELECT obj_id, prompt_idx, category, label, seg_probability FROM objects "
            "WHERE item = ? ORDER BY obj_id",
            item,
        )
        windows = self._rows(
            "SELECT window, prompt_idx, frame_idx, text, raw_text, presence FROM windows "
            "WHERE item = ? ORDER BY window, prompt_idx",
            item,
        )
        return ItemResult(
            item_id,
            _text(path),
            "image" if kind == "image" else "video",
            height,
            width,
            num_frames,
            fps,
            tuple(AnswerRecord(*answer) for answer in answers),
            tuple(ObjectRecord(*record) for record in objects),
            tuple(json.loads(notes)),
            tuple(FrameRun(*run) for run in json.loads(frames)),
            tuple(WindowRecord(*window) for window in windows),
        )

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """All queries inside see the same state."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    def _rows(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
