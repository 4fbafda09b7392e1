"""Output formats. To add one: write a class with `export`, and name it in EXPORTERS."""

from collections.abc import Sequence
from pathlib import Path

from sa2va_cli.errors import unknown_name
from sa2va_cli.exporters.base import (
    DEFAULT_OPTIONS,
    Exported,
    Exporter,
    ExportOptions,
    export_options,
)
from sa2va_cli.exporters.coco import CocoExporter
from sa2va_cli.exporters.cvat import CvatExporter
from sa2va_cli.exporters.files import marked_output, sole_writer
from sa2va_cli.exporters.hugging_face import ImagefolderExporter, ParquetExporter
from sa2va_cli.exporters.jsonl import AnswersExporter, FailuresExporter, JsonlExporter
from sa2va_cli.exporters.label_studio import LabelStudioExporter
from sa2va_cli.exporters.labelme import LabelmeExporter
from sa2va_cli.exporters.overlay import OverlayExporter
from sa2va_cli.exporters.png import MaskPngExporter
from sa2va_cli.exporters.report import ReportExporter
from sa2va_cli.exporters.video import OverlayVideoExporter
from sa2va_cli.exporters.video_png import DavisExporter, RefVosExporter
from sa2va_cli.exporters.yolo import YoloExporter
from sa2va_cli.exporters.youtube_vis import YoutubeVisExporter
from sa2va_cli.results import ResultReader

__all__ = [
    "EXPORTERS",
    "ExportOptions",
    "Exported",
    "export_options",
    "export_results",
    "get_exporter",
]

EXPORTERS: dict[str, type[Exporter]] = {
    "coco": CocoExporter,
    "masks": MaskPngExporter,
    "overlay": OverlayExporter,
    "video": OverlayVideoExporter,
    "youtube-vis": YoutubeVisExporter,
    "davis": DavisExporter,
    "ref-vos": RefVosExporter,
    "yolo": YoloExporter,
    "labelme": LabelmeExporter,
    "label-studio": LabelStudioExporter,
    "cvat": CvatExporter,
    "imagefolder": ImagefolderExporter,
    "parquet": ParquetExporter,
    "report": ReportExporter,
    "answers": AnswersExporter,
    "failures": FailuresExporter,
    "jsonl": JsonlExporter,
}

NEEDS = {"report": ("video",)}  # formats that show what others write


def get_exporter(name: str, options: ExportOptions = DEFAULT_OPTIONS) -> Exporter:
    """Raises UsageError for a name that is not in EXPORTERS."""
    if name not in EXPORTERS:
        raise unknown_name("format", name, EXPORTERS)
    return EXPORTERS[name](options)


def parse_formats(text: str) -> tuple[str, ...]:
    """ "coco,masks" -> names, each once; raises UsageError for an unknown one or for none."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names or ("",):
        get_exporter(name)
    return names


def export_results(
    results: ResultReader,
    formats: Sequence[str],
    out_dir: Path,
    options: ExportOptions = DEFAULT_OPTIONS,
) -> list[Exported]:
    """Write each format into `out_dir`; unknown names are found before anything is written.

    Raises JobLockedError when another export is writing there, JobError when it cannot be written.
    """
    names = dict.fromkeys(name for asked in formats for name in (*NEEDS.get(asked, ()), asked))
    exporters = {name: get_exporter(name, options) for name in names}
    with sole_writer(marked_output(out_dir)):
        exported = {name: exporter.export(results, out_dir) for name, exporter in exporters.items()}
    return [one for name, one in exported.items() if name in formats or one.count or one.notes]
