"""The Sa2VA model that a job names: checked in the parent process, loaded in the workers."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sa2va_cli.errors import UsageError, unknown_name
from sa2va_cli.jobs.annotator import Annotator, Loader
from sa2va_cli.models.sa2va.checkpoint_files import (
    ALLOWED_FILES,
    files_fingerprint,
    read_inventory,
    with_original_decoder,
)
from sa2va_cli.models.sa2va.compiler import check_compiler
from sa2va_cli.models.sa2va.config import load_config
from sa2va_cli.models.sa2va.hub import CONFIG_ONLY, local_folder, locate
from sa2va_cli.models.sa2va.keys import MODIFIED_DECODER

DTYPES = ("auto", "float32", "bfloat16", "float16")
ATTENTIONS = ("auto", "sdpa", "flash")
ENGINES = ("fast", "plain")


@dataclass(frozen=True, slots=True)
class Loading:
    """How weights are loaded."""

    dtype: str = "auto"
    attention: str = "auto"
    sam2_weights: Path | None = None
    engine: str = "fast"
    compile: bool = False


@dataclass(frozen=True, slots=True)
class Sa2vaLoader:
    """Loads a checkpoint folder; travels to the workers."""

    folder: str
    how: Loading

    def __call__(self, device: str) -> Annotator:
        # Imported here: torch takes seconds, and this class is also imported by the parent.
        import torch

        from sa2va_cli.models.sa2va.device import choose_device
        from sa2va_cli.models.sa2va.predictor import Sa2VA

        if choose_device(device).type == "cuda":
            torch.cuda.set_device(device)  # else libraries open a context on the first one, too
        model = Sa2VA.from_pretrained(
            self.folder,
            device=device,
            dtype=self.how.dtype,
            attention=self.how.attention,
            sam2_weights=self.how.sam2_weights,
            local_files_only=True,
            compile=self.how.compile,
        )
        if self.how.engine == "plain":
            from sa2va_cli.models.sa2va.plain import PlainEngine

            return PlainEngine(model.steps)
        return model


@dataclass(frozen=True, slots=True)
class Sa2vaSource:
    """A model by folder or name on the hub."""

    name: str
    revision: str | None = None
    offline: bool = False
    how: Loading = Loading()
    needs_two_decoders: bool = False
    look_only: bool = False  # of a model on the hub nothing but its config is fetched, or checked

    def prepare(self) -> tuple[str, Loader]:
        """Find the checkpoint, downloading it if need be, and read all but the weights."""
        if self.how.dtype not in DTYPES:
            raise unknown_name("dtype", self.how.dtype, DTYPES)
        if self.how.attention not in ATTENTIONS:
            raise unknown_name("attention", self.how.attention, ATTENTIONS)
        if self.how.engine not in ENGINES:
            raise unknown_name("engine", self.how.engine, ENGINES)
        if self.how.compile:
            check_compiler(on_gpu=False)  # what a GPU needs, too, its worker checks
        whole = not self.look_only or local_folder(self.name, self.revision) is not None
        patterns = ALLOWED_FILES if whole else CONFIG_ONLY
        source = locate(self.name, self.revision, local_files_only=self.offline, patterns=patterns)
        load_config(source.folder)
        tensors = read_inventory(source.folder) if whole else {}
        revision = source.revision
        if self.how.sam2_weights is not None:
            with_original_decoder(tensors, self.how.sam2_weights)
            revision += f" with SAM 2 {files_fingerprint([self.how.sam2_weights])}"
        elif self.needs_two_decoders and whole:
            _check_two_decoders(tensors)
        return revision, Sa2vaLoader(str(source.folder), self.how)


def _check_two_decoders(tensors: Iterable[str]) -> None:
    if not any(name.startswith(MODIFIED_DECODER) for name in tensors):
        raise UsageError(
            "This checkpoint cannot run --video-mode sa2va-i: it has one mask decoder.",
            hint="use a Sa2VA-i checkpoint, or give SAM 2.0 Hiera-L with --sam2-weights",
        )
