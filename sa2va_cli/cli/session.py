"""An interactive conversation: lines in; answers as they are written, masks and pictures out."""

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import typer

from sa2va_cli.cli.answers import AnswerFolder, Saved
from sa2va_cli.cli.guard import print_error
from sa2va_cli.cli.inline import inline_protocol, small_png
from sa2va_cli.cli.medium import Medium, load_regions
from sa2va_cli.cli.readable import ReadableText
from sa2va_cli.cli.transcript import Exchanged, transcript_json, transcript_text
from sa2va_cli.errors import Sa2vaError, UsageError
from sa2va_cli.exporters.files import write_bytes
from sa2va_cli.jobs import out_of_memory
from sa2va_cli.jobs.progress import visible
from sa2va_cli.models.sa2va.chat import Conversation
from sa2va_cli.results import Answer, MaskRecord

PROMPT = "> "
HELP = """\
Ask, or say what to segment: "Please segment the red car."
  /region FILE …  talk about parts of the picture: mask PNGs or a label map.
                  They are region1, region2, …; the conversation begins anew
  /save FILE      write the conversation down: text, or .json for --resume
  /reset          forget what was said; the picture stays
  /help           this list
  /quit           end (or Ctrl-D)
Ctrl-C ends an answer. The arrow keys bring back earlier lines."""


@dataclass(frozen=True, slots=True)
class Regions:
    """Mask prompts, and the files they came from."""

    masks: np.ndarray | None = None  # (regions, H, W) bool
    files: tuple[str, ...] = ()


class ChatSession:
    """One medium, one conversation, one terminal."""

    def __init__(self, conversation: Conversation, medium: Medium, folder: AnswerFolder) -> None:
        self._conversation = conversation
        self._medium = medium
        self._folder = folder
        self._exchanged: list[Exchanged] = []
        self._regions = Regions()  # of the next first turn
        self._written: set[Path] = set()  # by /save: may be written again
        self._noted: set[str] = set()  # what was told of the medium
        self._commands: dict[str, Callable[[str], None]] = {
            "/region": self._take_regions,
            "/save": self._save,
            "/reset": lambda _: self._reset(),
            "/help": lambda _: typer.echo(HELP),
        }

    def recall(self, turns: Sequence[Exchanged]) -> None:
        """Go on from an earlier conversation. Raises Sa2vaError if it does not fit the medium."""
        for turn in turns:
            masks = load_regions([Path(file) for file in turn.regions], self._medium)
            self._conversation.recall(turn.question, turn.answer, masks)
            self._exchanged.append(turn)

    def run(self) -> None:
        """Until /quit or the end of input."""
        typer.echo(f"{visible(self._medium.name)}: ask away. /help shows what else there is.")
        self._tell_notes()
        with _interrupts_raise():
            while self._one_line():
                pass

    def _one_line(self) -> bool:
        """False: no more."""
        asked = False
        try:
            line = input(PROMPT).strip()
            asked = True
            return self._do(line)
        except EOFError:
            typer.echo()
            return False
        except KeyboardInterrupt:
            typer.echo("\nStopped: not asked." if asked else "\nCtrl-D or /quit ends the session.")
        except UnicodeDecodeError:
            print_error("Error: What was typed is no valid UTF-8.", err=False)
        except Sa2vaError as error:
            print_error(f"Error: {error}", err=False)
        except out_of_memory.ERRORS as error:
            if not out_of_memory.is_out_of_memory(error):
                raise
            print_error(f"Out of memory, not asked: {error}", err=False)
        return True

    def _do(self, line: str) -> bool:
        command, _, argument = line.partition(" ")
        if command in ("/quit", "/exit"):
            return False
        if command in self._commands:
            self._commands[command](argument.strip())
        elif _is_command(command):
            raise UsageError(f"There is no {command}.", hint="/help lists the commands")
        elif line:
            self._ask(line)
        return True

    def _ask(self, question: str) -> None:
        readable = ReadableText()
        first = not self._conversation.turns
        regions = self._regions if first else Regions()
        reply = self._conversation.answer(
            question, regions.masks, lambda piece: _write(readable.feed(piece))
        )
        typer.echo(readable.finish())
        masks: list[MaskRecord] = []
        for frame in reply:
            masks += self._medium.mask_records(frame)
            self._tell_progress(frame.frame_idx + 1)
        turn = self._conversation.turns[-1]
        self._exchanged.append(Exchanged(turn.question, turn.answer, regions.files))
        if masks:
            self._save_masks(question, reply.answer, masks)
        self._tell_notes()

    def _save_masks(self, question: str, answer: Answer, masks: Sequence[MaskRecord]) -> None:
        try:
            saved = self._folder.save(question, answer, masks)
        except KeyboardInterrupt:
            typer.echo("\nStopped: the answer counts, but not all of its masks were saved.")
            return
        overlay, folder = (str(path) if path else None for path in (saved.overlay, saved.masks))
        self._exchanged[-1] = replace(self._exchanged[-1], overlay=overlay, masks=folder)
        self._show(saved)

    def _tell_notes(self) -> None:
        """Each once: what is wrong with a clip comes out as it is read."""
        for note in self._medium.notes:
            if note not in self._noted:
                typer.echo(visible(f"({note})"))
                self._noted.add(note)

    def _tell_progress(self, frames: int) -> None:
        if self._medium.kind == "video" and sys.stdout.isatty():
            _write(f"\r{frames} frames ")

    def _show(self, saved: Saved) -> None:
        if self._medium.kind == "video" and sys.stdout.isatty():
            _write("\r")
        protocol = inline_protocol(os.environ) if sys.stdout.isatty() else None
        if protocol and saved.overlay and self._medium.kind == "image":
            typer.echo(protocol(small_png(saved.overlay)))
        if saved.overlay:
            typer.echo(visible(f"overlay: {saved.overlay}"))
        if saved.masks:
            typer.echo(visible(f"masks:   {saved.masks}"))
        for note in saved.notes:
            typer.echo(f"({note})")

    def _take_regions(self, argument: str) -> None:
        paths = _paths(argument)
        if not paths:
            raise UsageError("Which regions?", hint="/region mask.png")
        masks = load_regions(paths, self._medium)
        assert masks is not None
        self._reset()
        self._regions = Regions(masks, tuple(str(path) for path in paths))
        names = ", ".join(f"region{number}" for number in range(1, len(masks) + 1))
        typer.echo(f"Call it {names}." if len(masks) == 1 else f"Call them {names}.")

    def _reset(self) -> None:
        if self._conversation.turns:
            typer.echo("The conversation begins anew.")
        self._conversation.reset()
        self._exchanged.clear()
        self._regions = Regions()

    def _save(self, argument: str) -> None:
        if not argument:
            raise UsageError("Where to?", hint="/save talk.txt, or talk.json for --resume")
        path = _at_home(argument)
        if path.exists() and path.resolve() not in self._written:
            raise UsageError(f"{path} is there already.", hint="name another file")
        spell = transcript_json if path.suffix.lower() == ".json" else transcript_text
        write_bytes(path, spell(self._medium.path, self._exchanged).encode("utf-8", "replace"))
        self._written.add(path.resolve())
        count = len(self._exchanged)
        typer.echo(f"saved:   {path} ({count} question{'s' if count != 1 else ''})")


def _is_command(word: str) -> bool:
    """A question may begin with a path: /home/me/a.png is none of ours."""
    return word.startswith("/") and "/" not in word[1:] and "." not in word


def _paths(argument: str) -> list[Path]:
    """One file with spaces in its name, or several files, quoted as for a shell."""
    whole = _at_home(argument)
    if not argument or whole.exists():
        return [whole] if argument else []
    try:
        words = shlex.split(argument)
    except ValueError:  # the apostrophe of a name
        words = argument.split()
    return [_at_home(word) for word in words]


def _at_home(argument: str) -> Path:
    """With ~ and ~name as the shell has them."""
    try:
        return Path(argument).expanduser()
    except RuntimeError:
        raise UsageError(f"There is no home of {argument}.", hint="write the whole path") from None


def _write(text: str) -> None:
    typer.echo(text, nl=False)  # it flushes


@contextmanager
def _interrupts_raise() -> Iterator[None]:
    """Ctrl-C is KeyboardInterrupt here, not the end of the program."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
