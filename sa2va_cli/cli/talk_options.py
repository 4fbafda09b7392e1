"""Options of `chat` and `ask` that no other command has."""

from pathlib import Path
from typing import Annotated

import typer

from sa2va_cli.cli.options import ASK, MODEL, OUT

Medium = Annotated[
    Path, typer.Argument(metavar="IMAGE|VIDEO", help="A picture, a clip, or a folder of frames.")
]
Question = Annotated[str, typer.Argument(metavar="QUESTION", help="Sent word for word.")]
Device = Annotated[
    str,
    typer.Option("--device", "-d", metavar="DEVICE", help="auto, cpu, cuda or cuda:1.",
                 rich_help_panel=MODEL, show_default=False),
]  # fmt: skip
Regions = Annotated[
    list[Path] | None,
    typer.Option("--region", metavar="PNG", help="Mask to talk about: region1, and so on. "
                 "Repeatable.", rich_help_panel=ASK, show_default=False),
]  # fmt: skip
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="FILE", help="Go on from a .json file that /save wrote.",
                 rich_help_panel=ASK, show_default=False),
]  # fmt: skip
AnswersDir = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Folder for masks and overlays (default: "
                 "photo.jpg-chat, where you are).", rich_help_panel=OUT, show_default=False),
]  # fmt: skip
MasksDir = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Also write an overlay and mask PNGs.",
                 rich_help_panel=OUT, show_default=False),
]  # fmt: skip
Json = Annotated[
    bool,
    typer.Option("--json", help="One JSON line: answer, scores, masks as RLE.",
                 rich_help_panel=OUT),
]  # fmt: skip
