"""Images of a job, for formats that stand beside them: what is in each, and names for labels."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sa2va_cli.exporters.base import Exported
from sa2va_cli.exporters.files import atomic_file
from sa2va_cli.exporters.names import item_folder
from sa2va_cli.masks import rle_area
from sa2va_cli.results import ItemResult, MaskRecord, ObjectRecord, ResultReader


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object that is there, its mask in an image, and the sentence that asked for it."""

    record: ObjectRecord
    mask: MaskRecord
    sentence: str
    presence: float | None  # how likely it is that the picture has what the sentence names


def found_objects(item: ItemResult, results: ResultReader) -> Iterator[FoundObject]:
    """The objects of an image in the order of their numbers, without those that are not there."""
    answers = {answer.prompt_idx: answer for answer in item.answers}
    records = {record.obj_id: record for record in item.objects}
    for mask in results.masks(item.item_id):
        if rle_area(mask.rle):
            record = records[mask.obj_id]
            answer = answers.get(record.prompt_idx)
            yield FoundObject(
                record,
                mask,
                sentence=answer.prompt if answer else record.label,
                presence=answer.presence if answer else None,
            )


def images_of(results: ResultReader) -> Iterator[ItemResult]:
    return (item for item in results.items() if item.kind == "image")


def without_videos(results: ResultReader, exported: Exported) -> Exported:
    """The same, with a note when videos were left out."""
    videos = sum(item.kind == "video" for item in results.items())
    note = f"videos left out: {videos}; youtube-vis, masks and video take them"
    return exported.with_notes(note) if videos else exported


class FolderNames:
    """Folders that no file of the same tree is named like.

    Of two inputs one may have a picture a.jpg and the other a folder a.jpg. That folder becomes
    `a.jpg%2F`, which no item's own name can be.
    """

    def __init__(self, files: Iterable[tuple[str, ...]]) -> None:
        self._files = {_digest(segments) for segments in files}

    def of(self, segments: tuple[str, ...]) -> tuple[str, ...]:
        """The segments of a file's path with the names of its folders made safe."""
        *folders, name = segments
        safe = (
            f"{folder}%2F" if _digest(segments[:depth]) in self._files else folder
            for depth, folder in enumerate(folders, start=1)
        )
        return (*safe, name)


class LabelNames:
    """Names by which tools find an image's labels: its own, without the suffix.

    Where a.jpg and a.png stand side by side that is one name for two. There they are `a%2Ejpg`
    and `a%2Epng`, which no item's own name can be.
    """

    def __init__(self, results: ResultReader, suffix: str) -> None:
        """`suffix` is that of the label files: no folder may be named like one of them."""
        self._folders = FolderNames(
            file
            for item in images_of(results)
            for stem in (_stem(item.item_id),)
            for file in (item_folder(item.item_id), (*stem[:-1], stem[-1] + suffix))
        )
        seen: set[bytes] = set()  # digests: 100,000s of paths would take much more
        self._shared: set[bytes] = set()
        for item in images_of(results):
            digest = _digest(_stem(item.item_id))
            (self._shared if digest in seen else seen).add(digest)

    def of(self, item_id: str) -> tuple[str, ...]:
        """Segments of the label file's path, without a suffix."""
        stem = _stem(item_id)
        if _digest(stem) in self._shared:
            suffix = suffix_of(item_id) or "."
            stem = (*stem[:-1], stem[-1] + suffix.replace(".", "%2E"))
        return self._folders.of(stem)


def _stem(item_id: str) -> tuple[str, ...]:
    *folders, name = item_folder(item_id)
    return (*folders, name.removesuffix(suffix_of(item_id)))


def suffix_of(item_id: str) -> str:
    """`.jpg`; empty when there is none, or it is nothing that can be copied as it is."""
    suffix = PurePosixPath(item_id).suffix
    return suffix if suffix[1:].isalnum() and suffix.isascii() else ""


def link_image(source: str, target: Path) -> bool:
    """A link to the original, or a copy where links cannot be made. False: there is no original."""
    if not os.path.isfile(source):
        return False
    temporary = target.with_name(f".{target.name}.link.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(Path(source).absolute())
        temporary.replace(target)
    except (OSError, NotImplementedError):
        with Path(source).open("rb") as original, atomic_file(target) as file:
            shutil.copyfileobj(original, file)
    return True


def missing_note(missing: int) -> tuple[str, ...]:
    return (f"pictures that are no longer where they were: {missing}",) if missing else ()


def _digest(segments: tuple[str, ...]) -> bytes:
    return hashlib.sha256("/".join(segments).encode("utf-8")).digest()[:12]
