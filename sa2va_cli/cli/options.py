"""Options that commands share, each described once."""

from pathlib import Path
from typing import Annotated

import typer

WHAT = "What to annotate"
ASK = "What to ask"
VIDEO = "Videos"
MODEL = "Model"
WHERE = "Where it runs"
OUT = "What comes out"
RUN = "How it runs"

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Images, videos, folders (searched whole), globs; - reads paths from standard input.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Job folder: results, and what a resume needs.",
                 rich_help_panel=WHAT, show_default=False),
]  # fmt: skip
Null = Annotated[
    bool | None,
    typer.Option("--null", "-0", help="Paths on standard input end with NUL (find -print0).",
                 rich_help_panel=WHAT, show_default=False),
]  # fmt: skip
FilesFrom = Annotated[
    Path | None,
    typer.Option(help="File with one path a line.", rich_help_panel=WHAT, show_default=False),
]
Manifest = Annotated[
    Path | None,
    typer.Option(help='JSON lines {"path": …, "prompts": […]}: files with prompts of their own.',
                 rich_help_panel=WHAT, show_default=False),
]  # fmt: skip
Include = Annotated[
    list[str] | None,
    typer.Option(help="Only files that match this glob, such as '*.jpg'. Repeatable.",
                 rich_help_panel=WHAT, show_default=False),
]  # fmt: skip
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="No files that match this glob. Repeatable.",
                 rich_help_panel=WHAT, show_default=False),
]  # fmt: skip
Hidden = Annotated[
    bool | None,
    typer.Option("--hidden", help="Also names that begin with a dot.",
                 rich_help_panel=WHAT, show_default=False),
]  # fmt: skip
FramesAsVideo = Annotated[
    bool | None,
    typer.Option("--frames-as-video", help="A folder of pictures is one video.",
                 rich_help_panel=WHAT, show_default=False),
]  # fmt: skip
MaxPixels = Annotated[
    int | None,
    typer.Option(help="Refuse pictures with more pixels.",
                 rich_help_panel=WHAT, show_default="268 million"),
]  # fmt: skip

Task = Annotated[
    str | None,
    typer.Option(help="segment: masks for prompts. caption: a text whose phrases have masks. "
                 "ask: answers. region: text about given masks.",
                 rich_help_panel=ASK, show_default="segment"),
]  # fmt: skip
PromptOption = Annotated[
    list[str] | None,
    typer.Option("--prompt", "-p", help="What to find, or a question. Repeatable. "
                 "'car=the red car' counts its objects under car.",
                 rich_help_panel=ASK, show_default=False),
]  # fmt: skip
PromptsFile = Annotated[
    Path | None,
    typer.Option("--prompts", help="Prompts from a .txt, .yaml, .json or .csv file.",
                 rich_help_panel=ASK, show_default=False),
]  # fmt: skip
Regions = Annotated[
    Path | None,
    typer.Option(help="For --task region: folder of mask PNGs, or a COCO file.",
                 rich_help_panel=ASK, show_default=False),
]  # fmt: skip

Fps = Annotated[
    float | None,
    typer.Option(help="At most so many frames a second.", rich_help_panel=VIDEO,
                 show_default="all"),
]  # fmt: skip
Every = Annotated[
    int | None,
    typer.Option(help="Every n-th frame.", rich_help_panel=VIDEO, show_default="1"),
]
Start = Annotated[
    float | None, typer.Option(help="From this second.", rich_help_panel=VIDEO, show_default="0")
]
End = Annotated[
    float | None,
    typer.Option(help="Up to this second.", rich_help_panel=VIDEO, show_default="the end"),
]
MaxFrames = Annotated[
    int | None,
    typer.Option(help="Stop after so many frames.", rich_help_panel=VIDEO, show_default="all"),
]

Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Folder, name on the Hugging Face hub, or demo.",
                 rich_help_panel=MODEL, show_default="ByteDance/Sa2VA-4B"),
]  # fmt: skip
Revision = Annotated[
    str | None,
    typer.Option(help="Branch, tag or commit on the hub.", rich_help_panel=MODEL,
                 show_default="newest"),
]  # fmt: skip
Offline = Annotated[
    bool | None,
    typer.Option("--offline", help="Never download.", rich_help_panel=MODEL, show_default=False),
]
Dtype = Annotated[
    str | None,
    typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel=MODEL,
                 show_default="auto"),
]  # fmt: skip
Attention = Annotated[
    str | None,
    typer.Option(help="auto, sdpa or flash.", rich_help_panel=MODEL, show_default="auto"),
]

Devices = Annotated[
    str | None,
    typer.Option("--devices", "-d", help="auto (all GPUs, else the processor), cpu, cpu:2 (two "
                 "workers), cuda, or numbers: 0,1,3.",
                 rich_help_panel=WHERE, show_default="auto"),
]  # fmt: skip
WorkersPerDevice = Annotated[
    int | None,
    typer.Option(help="Models on each device.", rich_help_panel=WHERE, show_default="1"),
]
ItemTimeout = Annotated[
    float | None,
    typer.Option(help="Seconds without a sign of life until a worker is replaced.",
                 rich_help_panel=WHERE, show_default="600"),
]  # fmt: skip
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", help="2/8: the second of eight machines' parts of the job; "
                 "sa2va merge unites them.",
                 rich_help_panel=WHERE, show_default=False),
]  # fmt: skip
Runner = Annotated[
    str | None,
    typer.Option(help="multi_gpu: processes. local: a thread, for debuggers.",
                 rich_help_panel=WHERE, show_default="multi_gpu"),
]  # fmt: skip

Formats = Annotated[
    str | None,
    typer.Option("--format", "-f", help="Comma-separated: coco, masks, overlay, answers, failures, "
                 "jsonl; for videos also video, youtube-vis, davis, ref-vos.",
                 rich_help_panel=OUT, show_default="coco,answers"),
]  # fmt: skip
Segmentation = Annotated[
    str | None,
    typer.Option("--coco-segmentation", help="rle (exact) or polygon (editable).",
                 rich_help_panel=OUT, show_default="rle"),
]  # fmt: skip
MinScore = Annotated[
    float | None,
    typer.Option(help="Export no mask with a lower score; all are stored.",
                 rich_help_panel=OUT, show_default="0"),
]  # fmt: skip
Jsonl = Annotated[
    str | None,
    typer.Option("--jsonl", metavar="FILE", help="A JSON line for each item as it is done; "
                 "- is standard output.",
                 rich_help_panel=OUT, show_default=False),
]  # fmt: skip

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file with any of these options; the command line "
                 "wins.",
                 rich_help_panel=RUN, show_default=False),
]  # fmt: skip
Force = Annotated[
    bool | None,
    typer.Option("--force", help="Do everything again, also with other settings.",
                 rich_help_panel=RUN, show_default=False),
]  # fmt: skip
RetryFailed = Annotated[
    bool | None,
    typer.Option("--retry-failed", help="Try again what failed before.",
                 rich_help_panel=RUN, show_default=False),
]  # fmt: skip
DryRun = Annotated[
    bool | None,
    typer.Option("--dry-run", help="Show what would be done; do nothing.",
                 rich_help_panel=RUN, show_default=False),
]  # fmt: skip
Quiet = Annotated[
    bool | None,
    typer.Option("--quiet", "-q", help="Tell failures only.",
                 rich_help_panel=RUN, show_default=False),
]  # fmt: skip
JsonLog = Annotated[
    bool | None,
    typer.Option("--json-log", help="Progress as JSON lines on standard error.",
                 rich_help_panel=RUN, show_default=False),
]  # fmt: skip

JobDir = Annotated[Path, typer.Argument(metavar="DIR", help="Job folder of sa2va annotate.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
