"""The checkpoint's tokenizer, and the ids of the tokens that Sa2VA gives a meaning to."""

import json
import sys
from pathlib import Path

from transformers import Qwen2Tokenizer

from sa2va_cli.errors import CheckpointError, UsageError

Ids = tuple[int, ...]

SEG = "[SEG]"
UNFINISHED = "\ufffd"  # what bytes are decoded to that are no character yet
NO_LIMIT = sys.maxsize  # the language model's config tells it; published tokenizers warn too early
REQUIRED_TOKENS = ("<img>", "</img>", "<IMG_CONTEXT>", SEG, "<p>", "</p>", "<vp>", "</vp>")


class Tokenizer:
    """Text to ids and back, special tokens included."""

    def __init__(self, folder: Path) -> None:
        """Read tokenizer.json, or vocab.json and merges.txt; never code, never `auto_map`.

        Raises CheckpointError for missing or broken files, and for a missing Sa2VA token.
        """
        _check_files(folder)
        with _Readable(folder):
            # The class is named: AutoTokenizer would ask about the published `auto_map`.
            self._tokenizer = Qwen2Tokenizer.from_pretrained(str(folder), local_files_only=True)
        self._tokenizer.model_max_length = NO_LIMIT
        self.vocab = self._tokenizer.get_vocab()
        self.context_token_id = self._required_id("<IMG_CONTEXT>")
        self.seg_token_id = self._required_id(SEG)
        for token in REQUIRED_TOKENS:
            self._required_id(token)
        self.eos_token_id: int | None = self._tokenizer.eos_token_id

    def __len__(self) -> int:
        return len(self._tokenizer)

    def check_fits(self, vocab_size: int) -> None:
        """Raises CheckpointError if a token has no place in the model's vocabulary."""
        token, last = max(self.vocab.items(), key=lambda entry: entry[1])
        if last >= vocab_size:
            raise CheckpointError(
                f"The tokenizer's token {token!r} has the id {last}, but the model knows "
                f"{vocab_size} tokens.",
                hint="are the tokenizer files those that belong to these weights?",
            )

    def encode(self, text: str) -> list[int]:
        """Ids of the text as it stands; nothing is put in front.

        Raises UsageError for text that is no unicode, such as bytes from a command line.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError("The text is no valid unicode.", hint="write it in UTF-8") from None
        return list(self._tokenizer.encode(text))

    def decode(self, ids: list[int]) -> str:
        """Text with special tokens kept."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def _required_id(self, token: str) -> int:
        if token not in self.vocab:
            raise CheckpointError(
                f"The tokenizer has no token {token!r}.",
                hint="is this a Sa2VA checkpoint? Its tokenizer files bring that token",
            )
        return int(self.vocab[token])


def _check_files(folder: Path) -> None:
    if (folder / "tokenizer.json").is_file():
        _check_tokenizer_json(folder / "tokenizer.json")
        return
    missing = [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"No tokenizer in {folder}: neither tokenizer.json nor {' and '.join(missing)}.",
            hint="copy the tokenizer files of the checkpoint into the folder",
        )


class _Readable:
    """Whatever reading a tokenizer raises is told as a CheckpointError.

    The tokenizers library raises Exception itself, which an except clause could only name
    together with all its subclasses.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        known = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
        if kind is not None and (kind is Exception or issubclass(kind, known)):
            raise _unreadable(self._folder, error) from error


def _check_tokenizer_json(path: Path) -> None:
    with _Readable(path.parent):
        model = json.loads(path.read_text(encoding="utf-8"))["model"]
        whole = bool(model["vocab"]) and isinstance(model["merges"], list)
    if not whole:
        raise _unreadable(path.parent, "tokenizer.json has no vocabulary")


def _unreadable(folder: Path, why: object) -> CheckpointError:
    return CheckpointError(
        f"The tokenizer in {folder} cannot be read: {why}.", hint="download the checkpoint again"
    )
