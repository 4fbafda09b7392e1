"""Options that commands share, each described once."""

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

WHAT = "What to annotate"
ASK = "What to ask"
VIDEO = "Videos"
MODEL = "Model"
WHERE = "Where it runs"
OUT = "What comes out"
RUN = "How it runs"


def _option(panel: str, text: str, *names: str, metavar: str = "") -> Any:
    """Defaults stand in the text: here None means "not given", and a config file may give it."""
    return typer.Option(
        *names, help=text, metavar=metavar, rich_help_panel=panel, show_default=False
    )


Text: TypeAlias = str | None
Texts: TypeAlias = list[str] | None
Number: TypeAlias = float | None
Whole: TypeAlias = int | None
Flag: TypeAlias = bool | None
File: TypeAlias = Path | None

Inputs = Annotated[
    Texts,
    typer.Argument(
        metavar="INPUT",
        help="Images, videos, folders (searched whole), globs; - reads paths from standard input.",
        show_default=False,
    ),
]
Output = Annotated[
    File,
    _option(WHAT, "Job folder: results, and what a resume needs.", "--output", "-o", metavar="DIR"),
]
Null = Annotated[
    Flag,
    _option(WHAT, "Listed paths end with NUL, not with the line (find -print0).", "--null", "-0"),
]
FilesFrom = Annotated[
    File, _option(WHAT, "File with one path a line.", "--files-from", metavar="FILE")
]
Manifest = Annotated[
    File,
    _option(
        WHAT, 'JSON lines {"path": …, "prompts": […]}: files with their own prompts.',
        "--manifest", metavar="FILE",
    ),
]  # fmt: skip
Include = Annotated[
    Texts,
    _option(WHAT, "Only files that match, like '*.jpg'. Repeatable.", "--include", metavar="GLOB"),
]
Exclude = Annotated[
    Texts, _option(WHAT, "No files that match. Repeatable.", "--exclude", metavar="GLOB")
]
Hidden = Annotated[Flag, _option(WHAT, "Also names that begin with a dot.", "--hidden")]
FramesAsVideo = Annotated[
    Flag, _option(WHAT, "A folder of pictures is one video.", "--frames-as-video")
]
MaxPixels = Annotated[
    Whole,
    _option(
        WHAT, "Refuse pictures with more pixels (default: 268 million).",
        "--max-pixels", metavar="N",
    ),
]  # fmt: skip

Task = Annotated[
    Text,
    _option(
        ASK, "segment: masks for prompts (the default). caption: a text whose phrases have masks. "
        "ask: answers. region: text about given masks.",
        "--task", metavar="TASK",
    ),
]  # fmt: skip
PromptOption = Annotated[
    Texts,
    _option(
        ASK, "What to find, or a question. Repeatable. 'car=the red car' counts its objects under "
        "car; a sentence that holds = begins with one.",
        "--prompt", "-p", metavar="TEXT",
    ),
]  # fmt: skip
PromptsFile = Annotated[
    File,
    _option(
        ASK, "Prompts from a .txt, .yaml, .json or .csv file.", "--prompts", metavar="FILE"
    ),
]  # fmt: skip
Regions = Annotated[
    File,
    _option(
        ASK, "For --task region: folder of mask PNGs, or COCO file.", "--regions", metavar="PATH"
    ),
]  # fmt: skip
Presence = Annotated[
    Text,
    _option(
        ASK, "ask: also ask whether what a prompt names is there at all, and store how likely.",
        "--presence", metavar="WAY",
    ),
]  # fmt: skip

Fps = Annotated[
    Number, _option(VIDEO, "At most so many frames a second (default: all).", "--fps", metavar="N")
]
Every = Annotated[Whole, _option(VIDEO, "Every n-th frame (default: 1).", "--every", metavar="N")]
Start = Annotated[
    Number, _option(VIDEO, "From this second (default: 0).", "--start", metavar="SECONDS")
]
End = Annotated[
    Number, _option(VIDEO, "Up to this second (default: the end).", "--end", metavar="SECONDS")
]
MaxFrames = Annotated[
    Whole, _option(VIDEO, "Stop after so many frames (default: all).", "--max-frames", metavar="N")
]
TrackAll = Annotated[
    Flag,
    _option(VIDEO, "Masks also for the frames that --fps and --every leave out.", "--track-all"),
]

KeyFrames = Annotated[
    Whole,
    _option(
        VIDEO, "Frames that the language model sees (default: 5).", "--key-frames", metavar="N"
    ),
]
KeySampling = Annotated[
    Text,
    _option(
        VIDEO,
        "first: the clip's first frames. uniform: spread over it; reads the file twice "
        "(default: first).",
        "--key-sampling",
        metavar="HOW",
    ),
]
Window = Annotated[
    Whole,
    _option(
        VIDEO,
        "Look anew after so many frames; objects keep their numbers (default: look once).",
        "--window",
        metavar="N",
    ),
]
Overlap = Annotated[
    Whole,
    _option(
        VIDEO,
        "Frames that two windows share (default: as many as key frames).",
        "--overlap",
        metavar="N",
    ),
]
VideoMode = Annotated[
    Text,
    _option(
        VIDEO,
        "sa2va, or sa2va-i for checkpoints with two mask decoders (default: auto).",
        "--video-mode",
        metavar="MODE",
    ),
]

Model = Annotated[
    Text,
    _option(
        MODEL, "Folder, name on the Hugging Face hub, or demo (default: ByteDance/Sa2VA-4B).",
        "--model", "-m", metavar="MODEL",
    ),
]  # fmt: skip
Revision = Annotated[
    Text,
    _option(
        MODEL, "Branch, tag or commit on the hub (default: newest).", "--revision", metavar="NAME"
    ),
]  # fmt: skip
Offline = Annotated[Flag, _option(MODEL, "Never download.", "--offline")]
Dtype = Annotated[
    Text, _option(MODEL, "auto, float32, bfloat16 or float16.", "--dtype", metavar="DTYPE")
]
Attention = Annotated[
    Text, _option(MODEL, "auto, sdpa or flash.", "--attention", metavar="KERNEL")
]  # fmt: skip

Sam2Weights = Annotated[
    Path | None,
    _option(
        MODEL,
        "SAM 2.0 Hiera-L as safetensors: gives a plain checkpoint the decoder of sa2va-i.",
        "--sam2-weights",
        metavar="FILE",
    ),
]

Engine = Annotated[
    Text,
    _option(
        MODEL, "fast (the default), or plain: shares and drafts nothing, to check the other.",
        "--engine", metavar="NAME",
    ),
]  # fmt: skip
Compile = Annotated[
    Flag,
    _option(MODEL, "Compile the networks of fixed shape (experimental).", "--compile"),
]
BatchSize = Annotated[
    Text,
    _option(
        WHERE, "Images that a model sees at a time, or auto (the default).", "--batch-size",
        metavar="N",
    ),
]  # fmt: skip

Devices = Annotated[
    Text,
    _option(
        WHERE, "auto (all GPUs, else the processor), cpu, cpu:2 (two workers), cuda, or numbers: "
        "0,1,3.",
        "--devices", "-d", metavar="LIST",
    ),
]  # fmt: skip
WorkersPerDevice = Annotated[
    Whole,
    _option(WHERE, "Models on each device (default: 1).", "--workers-per-device", metavar="N"),
]
ItemTimeout = Annotated[
    Number,
    _option(
        WHERE, "Replace a worker that gives no sign of life for so long (default: 600).",
        "--item-timeout", metavar="SECONDS",
    ),
]  # fmt: skip
ShardOption = Annotated[
    Text,
    _option(
        WHERE, "2/8: the second of eight machines' parts of the job; sa2va merge unites them.",
        "--shard", metavar="I/N",
    ),
]  # fmt: skip
Runner = Annotated[
    Text,
    _option(
        WHERE, "multi_gpu: processes (the default). local: a thread, for debuggers.",
        "--runner", metavar="NAME",
    ),
]  # fmt: skip

Formats = Annotated[
    Text,
    _option(
        OUT, "Comma-separated: coco, masks, overlay, answers, failures, jsonl, report, yolo, "
        "labelme, label-studio, cvat, imagefolder, parquet; for videos masks, video, report, "
        "youtube-vis, davis, ref-vos (default: coco,answers; videos: also youtube-vis).",
        "--format", "-f", metavar="LIST",
    ),
]  # fmt: skip
Segmentation = Annotated[
    Text,
    _option(
        OUT, "rle (exact, the default) or polygon (editable).",
        "--coco-segmentation", metavar="FORM",
    ),
]  # fmt: skip
MinScore = Annotated[
    Number,
    _option(
        OUT, "Export no mask with a lower score (default: 0). All are stored.",
        "--min-score", metavar="0..1",
    ),
]  # fmt: skip
MinPresence = Annotated[
    Number,
    _option(
        OUT, "Export nothing that --presence found less likely (default: 0). All is stored.",
        "--min-presence", metavar="0..1",
    ),
]  # fmt: skip
Jsonl = Annotated[
    Text,
    _option(
        OUT, "A JSON line for each item as it is done; - is standard output.",
        "--jsonl", metavar="FILE",
    ),
]  # fmt: skip

ConfigFile = Annotated[
    File,
    _option(
        RUN, "YAML file with these options; the command line wins.",
        "--config", "-c", metavar="FILE",
    ),
]  # fmt: skip
Force = Annotated[Flag, _option(RUN, "Do everything again, also with other settings.", "--force")]
RetryFailed = Annotated[Flag, _option(RUN, "Try again what failed before.", "--retry-failed")]
DryRun = Annotated[Flag, _option(RUN, "Show what would be done; do nothing.", "--dry-run")]
Quiet = Annotated[Flag, _option(RUN, "Tell failures only.", "--quiet", "-q")]
JsonLog = Annotated[
    Flag, _option(RUN, "Progress as JSON lines on standard error.", "--json-log")
]  # fmt: skip

JobDir = Annotated[Path, typer.Argument(metavar="DIR", help="Job folder of sa2va annotate.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
