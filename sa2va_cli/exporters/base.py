"""What every exporter is: options in, results read from the store, files out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from sa2va_cli.errors import UsageError
from sa2va_cli.results import ResultReader

CocoSegmentation = Literal["rle", "polygon"]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What a user may choose about the files; the same for every format that it touches."""

    coco_segmentation: CocoSegmentation = "rle"
    min_score: float = 0.0  # masks under it count as "not there"
    min_presence: float = 0.0  # objects of answers under it count as "not there"
    workers: int = 0  # threads that encode pictures; 0: one for each core, up to 32
    adds: bool = False  # to other results in the folder: what is not of these ones stays

    def __post_init__(self) -> None:
        if self.coco_segmentation not in ("rle", "polygon"):
            raise UsageError(
                f"Unknown COCO segmentation {self.coco_segmentation!r}.",
                hint="choose rle (exact, small) or polygon (editable)",
            )
        for name, value in (("--min-score", self.min_score), ("--min-presence", self.min_presence)):
            if not 0.0 <= value <= 1.0:  # also refuses NaN
                raise UsageError(
                    f"{name} {value} is not between 0 and 1.",
                    hint="0 keeps every mask; 0.5 drops those the model doubts",
                )


DEFAULT_OPTIONS = ExportOptions()


def export_options(
    segmentation: str | None, min_score: float | None, min_presence: float | None
) -> ExportOptions:
    """Options as the command line has them: None is the default. Raises UsageError."""
    return ExportOptions(
        coco_segmentation=segmentation or "rle",  # type: ignore[arg-type]
        min_score=min_score or 0.0,
        min_presence=min_presence or 0.0,
    )


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote, and what its reader should know about it."""

    path: Path  # the file, or the folder when there are many
    count: int  # how many of `unit`
    unit: str  # "annotations", "pictures", …
    notes: tuple[str, ...] = ()  # what the format leaves out, which pictures could not be read

    def with_notes(self, *notes: str) -> "Exported":
        """The same, and more to know."""
        return replace(self, notes=(*self.notes, *notes))

    def text(self, before_notes: str = "\n  ") -> str:
        """For people: `out/masks: 12 mask pictures`, and the notes behind or below it."""
        unit = self.unit.removesuffix("s") if self.count == 1 else self.unit
        return before_notes.join([f"{_from_here(self.path)}: {self.count} {unit}", *self.notes])


def _from_here(path: Path) -> Path:
    """Below the working folder without its name, as people type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


class Exporter(Protocol):
    """One output format. The same results and options give the same bytes."""

    def __init__(self, options: ExportOptions) -> None: ...

    def export(self, results: ResultReader, out_dir: Path) -> Exported:
        """Write into `out_dir`, which is made; raises JobError when that cannot be done."""
        ...
