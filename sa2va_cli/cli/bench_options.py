"""Options of `bench` that no other command has."""

from pathlib import Path
from typing import Annotated

import typer

ALL_WORKS = "image-1,image-4,image-16,video-1,video-5"

Works = Annotated[
    str,
    typer.Option("--works", metavar="LIST", help="What to measure: image-N and video-N with N "
                 "prompts, images-N and batch-N with N images, caption-N (default: 1, 4 and 16 "
                 "prompts for an image, 1 and 5 for a video).", show_default=False),
]  # fmt: skip
RandomWeights = Annotated[
    str | None,
    typer.Option("--random-weights", metavar="NAME", help="A published model's size without its "
                 "weights, offline: ByteDance/Sa2VA-4B."),
]  # fmt: skip
Engine = Annotated[
    str,
    typer.Option("--engine", metavar="NAME", help="fast, plain, or both in turns (the default).",
                 show_default=False),
]  # fmt: skip
Repeat = Annotated[
    int,
    typer.Option("--repeat", "-n", metavar="N", help="Repetitions; the median counts (default: "
                 "3).", show_default=False, min=1),
]  # fmt: skip
Frames = Annotated[
    int,
    typer.Option("--frames", metavar="N", help="Frames of the clip (default: 24).",
                 show_default=False, min=1),
]  # fmt: skip
ForcedAnswers = Annotated[
    bool,
    typer.Option("--forced-answers", help="Prescribe what is answered, as with random weights."),
]
NoStages = Annotated[bool, typer.Option("--no-stages", help="Do not show the time by stage.")]
Device = Annotated[
    str,
    typer.Option("--device", "-d", metavar="NAME", help="auto, cpu, cuda or cuda:1.",
                 show_default=False),
]  # fmt: skip
Threads = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", help="Of the processor (default: all).", min=1),
]
Markdown = Annotated[
    Path | None, typer.Option("--markdown", metavar="FILE", help="Also write a table here.")
]
