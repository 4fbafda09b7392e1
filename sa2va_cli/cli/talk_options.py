"""Options of `chat` and `ask`: those that both have, and those that no other command has."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from sa2va_cli.cli import options as o

Medium = Annotated[
    Path, typer.Argument(metavar="IMAGE|VIDEO", help="A picture, a clip, or a folder of frames.")
]
Question = Annotated[str, typer.Argument(metavar="QUESTION", help="Sent word for word.")]
Device = Annotated[
    str,
    typer.Option("--device", "-d", metavar="DEVICE", help="auto, cpu, cuda or cuda:1.",
                 rich_help_panel=o.MODEL, show_default=False),
]  # fmt: skip
Regions = Annotated[
    list[Path] | None,
    typer.Option("--region", metavar="PNG", help="Mask to talk about: region1, and so on. "
                 "Repeatable.", rich_help_panel=o.ASK, show_default=False),
]  # fmt: skip
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="FILE", help="Go on from a .json file that /save wrote.",
                 rich_help_panel=o.ASK, show_default=False),
]  # fmt: skip
AnswersDir = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Folder for masks and overlays (default: "
                 "photo.jpg-chat, where you are).", rich_help_panel=o.OUT, show_default=False),
]  # fmt: skip
MasksDir = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Also write an overlay and mask PNGs.",
                 rich_help_panel=o.OUT, show_default=False),
]  # fmt: skip
Json = Annotated[
    bool,
    typer.Option("--json", help="One JSON line: answer, scores, masks as RLE.",
                 rich_help_panel=o.OUT),
]  # fmt: skip

Command = TypeVar("Command", bound=Callable[..., None])


def with_talk_options(command: Command) -> Command:
    """Let a command that takes `**talk` have all options of `_talk`, as Typer sees it."""
    own = inspect.signature(command).parameters.values()
    named = [parameter for parameter in own if parameter.kind is not parameter.VAR_KEYWORD]
    shared = inspect.signature(_talk).parameters.values()
    command.__signature__ = inspect.Signature([*named, *shared])  # type: ignore[attr-defined]
    return command


def _talk(
    model: o.Model = None,
    revision: o.Revision = None,
    offline: o.Offline = None,
    device: Device = "auto",
    dtype: o.Dtype = None,
    attention: o.Attention = None,
    sam2_weights: o.Sam2Weights = None,
    fps: o.Fps = None,
    every: o.Every = None,
    start: o.Start = None,
    end: o.End = None,
    max_frames: o.MaxFrames = None,
    key_frames: o.KeyFrames = None,
    key_sampling: o.KeySampling = None,
    video_mode: o.VideoMode = None,
) -> None:
    """Only its parameters count: the model, and which frames of a clip are looked at."""
