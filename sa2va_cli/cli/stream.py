"""`--jsonl`: a line for each finished item, as soon as it is safely stored."""

import json
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from sa2va_cli.errors import JobError, UsageError
from sa2va_cli.exporters.base import ExportOptions
from sa2va_cli.exporters.filters import with_thresholds
from sa2va_cli.exporters.item_json import (
    answer_json,
    header_json,
    identity_json,
    item_json,
    summarise,
)
from sa2va_cli.exporters.numbers import dump_json
from sa2va_cli.exporters.one_item import OneItem
from sa2va_cli.jobs.reader import StoreReader
from sa2va_cli.results import ItemResult, ResultReader

STDOUT = "-"


class JsonlStream:
    """Reads items back from the store and writes them. A reader that goes away ends only this."""

    def __init__(
        self, file: IO[str], job_dir: Path, options: ExportOptions, say: Callable[[str], None]
    ) -> None:
        self._file = file
        self._job_dir = job_dir
        self._options = options
        self._say = say
        self._reader: StoreReader | None = None
        self._open = True

    def write(self, item: int) -> None:
        """One line. Raises JobError when it cannot be written."""
        if not self._open:
            return
        if self._reader is None:  # the store is made by the run
            self._reader = StoreReader(self._job_dir)
        result = self._reader.item(item)
        only = OneItem(result, self._reader.masks)
        line = item_line(result, with_thresholds(only, self._options))
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except BrokenPipeError:
            self._open = False
            self._say("nobody reads the JSON lines any more; the run goes on without them")
            # What is buffered would be written again, and fail again, when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())
        except OSError as error:
            raise JobError(
                f"Cannot write JSON lines: {error.strerror}.",
                hint="free some space, then run the same command again",
            ) from error

    def close(self) -> None:
        if self._reader:
            self._reader.close()


def item_line(item: ItemResult, results: ResultReader) -> str:
    """Everything about an image; about a video all but its masks, which may be millions."""
    masks = results.masks(item.item_id)
    if item.kind == "image":
        return item_json(item, masks)
    summaries = summarise(item, masks)
    answers = [answer_json(answer, item) for answer in item.answers]
    objects = [
        identity_json(record)
        | {"prompt_idx": record.prompt_idx}
        | summaries[record.obj_id].to_json(item.kind)
        for record in item.objects
    ]
    return dump_json(header_json(item) | {"answers": answers, "objects": objects})


@contextmanager
def jsonl_stream(
    target: str, job_dir: Path, options: ExportOptions, say: Callable[[str], None]
) -> Iterator[JsonlStream]:
    """A stream to a file, which is added to, or to standard output for "-"."""
    with _opened(target) as file:
        stream = JsonlStream(file, job_dir, options, say)
        try:
            yield stream
        finally:
            stream.close()


@contextmanager
def _opened(target: str) -> Iterator[IO[str]]:
    if target == STDOUT:
        yield sys.stdout
        return
    with ExitStack() as stack:
        try:
            _mend_last_line(Path(target))
            file = stack.enter_context(Path(target).open("a", encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"Cannot write {target}: {error.strerror}.", hint="give another --jsonl file"
            ) from error
        yield file


def _mend_last_line(path: Path) -> None:
    """The next line would be glued to it: cut off what a kill or a full disk has left of a line of
    ours, and end one that somebody has left without an end.
    """
    if not path.is_file() or not path.stat().st_size:  # also not a pipe
        return
    with path.open("rb+") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            end = text.rfind(b"\n") + 1
            rest = text[end:] if text[end : end + 1] == b"{" else b""
        if not rest:
            return
        try:
            json.loads(rest)
        except ValueError:
            file.truncate(end)
        else:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
