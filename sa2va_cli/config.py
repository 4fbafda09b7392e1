"""What the user asks a job for: the prompts, and every other option."""

import json
from dataclasses import dataclass
from pathlib import Path

from sa2va_cli.errors import UsageError

MAX_SHARDS = 999


@dataclass(frozen=True, slots=True)
class Prompt:
    """A sentence about the picture, and the category that its objects are counted under.

    Several prompts may share a category: `car` may be "the red car" and "the truck".
    """

    category: str
    text: str

    def __post_init__(self) -> None:
        """Raises UsageError for bytes that are no text: neither models nor stores take them."""
        for words in (self.category, self.text):
            try:
                words.encode("utf-8")
            except UnicodeEncodeError:
                raise UsageError(
                    f"The prompt {words!a} is no valid unicode.",
                    hint="is the terminal, or the file, in another encoding than UTF-8?",
                ) from None


def parse_prompt(text: str) -> Prompt:
    """ "car=the red car" -> category and sentence; without "=" the sentence is its own category.

    Only the first "=" counts; begin with "=" to write a sentence that holds one.
    """
    category, equals, sentence = text.partition("=")
    if not equals:
        return Prompt(text.strip(), text.strip())
    sentence = sentence.strip()
    return Prompt(category.strip() or sentence, sentence)


def spell_prompt(prompt: Prompt) -> str:
    """A text that no other prompt has: the shortest that `parse_prompt` reads as this one.

    Files can hold prompts that it cannot read (a category with "="): these are spelt as JSON.
    """
    if prompt.category != prompt.text:
        text = f"{prompt.category}={prompt.text}"
    else:
        text = f"={prompt.text}" if "=" in prompt.text else prompt.text
    if parse_prompt(text) == prompt and not text.startswith("{"):
        return text
    return json.dumps({"category": prompt.category, "text": prompt.text}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Shard:
    """One machine's part of a job: the `number`-th of `count`, from 1."""

    number: int
    count: int

    @property
    def folder(self) -> str:
        return f"shard-{self.number:03d}-of-{self.count:03d}"


def parse_shard(text: str) -> Shard:
    """ "2/8" -> the second of eight. Raises UsageError for anything else."""
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= MAX_SHARDS:
        return Shard(int(number), int(count))
    raise UsageError(
        f"--shard {text!r} is not a part of a job.",
        hint=f"write 2/8 for the second of eight machines; at most {MAX_SHARDS}",
    )


@dataclass(frozen=True, slots=True)
class JobConfig:
    """Every option of `sa2va annotate`, named as on the command line, with its default.

    The names are also the keys of a config file. Text fields that have their own syntax are
    kept as the user wrote them: `jobs.checks` reads them before the first worker starts.
    """

    # What to annotate
    inputs: tuple[str, ...] = ()
    output: Path | None = None
    null: bool = False
    files_from: Path | None = None
    manifest: Path | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    frames_as_video: bool = False
    max_pixels: int | None = None

    # What to ask
    task: str = "segment"
    prompts: tuple[Prompt, ...] = ()
    regions: Path | None = None
    presence: str = "off"

    # Which frames of a video
    fps: float | None = None
    every: int = 1
    start: float = 0.0
    end: float | None = None
    max_frames: int | None = None
    track_all: bool = False
    key_frames: int = 5
    key_sampling: str = "first"
    window: int | None = None
    overlap: int | None = None
    video_mode: str = "auto"

    # Which model, and where it runs
    model: str = "ByteDance/Sa2VA-4B"
    revision: str | None = None
    offline: bool = False
    dtype: str = "auto"
    attention: str = "auto"
    sam2_weights: Path | None = None
    engine: str = "fast"
    compile: bool = False
    batch_size: str = "auto"
    runner: str = "multi_gpu"
    devices: str = "auto"
    workers_per_device: int = 1
    item_timeout: float = 600.0
    shard: str | None = None

    # What comes out
    formats: tuple[str, ...] = ()  # none named: what fits the media
    coco_segmentation: str = "rle"
    min_score: float = 0.0
    min_presence: float = 0.0
    jsonl: str | None = None

    # How to run
    force: bool = False
    retry_failed: bool = False
    dry_run: bool = False
    quiet: bool = False
    json_log: bool = False
