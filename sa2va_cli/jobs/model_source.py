"""The Sa2VA model that a job names: checked in the parent process, loaded in the workers."""

from dataclasses import dataclass

from sa2va_cli.errors import unknown_name
from sa2va_cli.jobs.annotator import Annotator, Loader
from sa2va_cli.models.sa2va.checkpoint_files import read_inventory
from sa2va_cli.models.sa2va.config import load_config
from sa2va_cli.models.sa2va.hub import locate

DTYPES = ("auto", "float32", "bfloat16", "float16")
ATTENTIONS = ("auto", "sdpa", "flash")


@dataclass(frozen=True, slots=True)
class Sa2vaLoader:
    """Loads a checkpoint folder; travels to the workers."""

    folder: str
    dtype: str
    attention: str

    def __call__(self, device: str) -> Annotator:
        # Imported here: torch takes seconds, and this class is also imported by the parent.
        from sa2va_cli.models.sa2va.predictor import Sa2VA

        return Sa2VA.from_pretrained(
            self.folder,
            device=device,
            dtype=self.dtype,
            attention=self.attention,
            local_files_only=True,
        )


@dataclass(frozen=True, slots=True)
class Sa2vaSource:
    """A model by folder or name on the hub."""

    name: str
    revision: str | None = None
    offline: bool = False
    dtype: str = "auto"
    attention: str = "auto"

    def prepare(self) -> tuple[str, Loader]:
        """Find the checkpoint, downloading it if need be, and read all but the weights."""
        if self.dtype not in DTYPES:
            raise unknown_name("dtype", self.dtype, DTYPES)
        if self.attention not in ATTENTIONS:
            raise unknown_name("attention", self.attention, ATTENTIONS)
        source = locate(self.name, self.revision, local_files_only=self.offline)
        load_config(source.folder)
        read_inventory(source.folder)
        return source.revision, Sa2vaLoader(str(source.folder), self.dtype, self.attention)
