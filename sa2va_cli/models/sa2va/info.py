"""What a checkpoint is, told from its config and file headers: no weight is read."""

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import nn

from sa2va_cli.errors import CheckpointError
from sa2va_cli.models.sa2va.checkpoint_files import read_inventory
from sa2va_cli.models.sa2va.config import Sa2vaConfig, load_config
from sa2va_cli.models.sa2va.hub import DEMO, config_folder
from sa2va_cli.models.sa2va.keys import MODIFIED_DECODER
from sa2va_cli.models.sa2va.model import meta_model
from sa2va_cli.models.sa2va.published import DEMO_LICENCE, LICENCES

PARTS = ("vision_encoder", "projector", "language_model", "seg_bridge", "segmenter")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A checkpoint at a glance."""

    name: str
    architecture: str
    parameters: dict[str, int]  # by part, and "total"
    stored: str  # number formats in the files, or why they are unknown
    config: Sa2vaConfig
    licences: dict[str, str]

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: one fact a line."""
        vision, language, segmenter = (
            self.config.vision,
            self.config.language,
            self.config.segmenter,
        )
        facts = {
            "model": self.name,
            "architecture": self.architecture,
            "vision tower": f"InternViT, {vision.num_layers} layers x {vision.hidden_size}, "
            f"{vision.tokens_per_tile} tokens a tile of {vision.image_size} px, "
            f"max_tiles {self.config.max_tiles}",
            "language model": f"{language.architecture}, {language.num_layers} layers x "
            f"{language.hidden_size}, vocabulary {language.vocab_size:,}",
            "segmenter": f"SAM 2.0, Hiera {'-'.join(str(n) for n in segmenter.stages)} x "
            f"{segmenter.embed_dim}, {segmenter.image_size} px, width {segmenter.hidden_size}"
            + (", two mask decoders (Sa2VA-i)" if self.config.two_decoders else ""),
            "chat template": self.config.template,
            "parameters": f"{self.parameters['total']:,}",
            **{f"  {part}": f"{self.parameters[part]:,}" for part in PARTS},
            "dtype": self.config.dtype or "not told by config.json",
            "stored as": self.stored,
            **{f"licence, {what}": text for what, text in self.licences.items()},
        }
        width = max(len(name) for name in facts)
        return [f"{name:<{width}}  {text}" for name, text in facts.items()]


def model_info(name_or_path: str, revision: str | None, *, local_files_only: bool) -> ModelInfo:
    """Read config.json of a folder or hub model, and the headers of its files if they are here."""
    folder = config_folder(name_or_path, revision, local_files_only=local_files_only)
    tensors, stored = _stored(folder)
    two_decoders = any(name.startswith(MODIFIED_DECODER) for name in tensors)
    config = replace(load_config(folder), two_decoders=two_decoders)
    model = meta_model(config)
    counts = {part: _num_parameters(model.get_submodule(part)) for part in PARTS}
    return ModelInfo(
        name=name_or_path,
        architecture=f"Sa2VA (InternViT + {config.language.architecture} + SAM 2)",
        parameters={**counts, "total": sum(counts.values())},
        stored=stored,
        config=config,
        licences=LICENCES | DEMO_LICENCE if name_or_path == DEMO else LICENCES,
    )


def _num_parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _stored(folder: Path) -> tuple[Collection[str], str]:
    """Names of the tensors in the files, and their number formats or why they are unknown."""
    try:
        inventory = read_inventory(folder)
    except CheckpointError as error:
        return (), f"unknown: {str(error).splitlines()[0]}"
    sizes: Counter[str] = Counter()
    for info in inventory.values():
        sizes[info.dtype] += info.num_bytes
    formats = ", ".join(f"{dtype} {size / 1e6:,.1f} MB" for dtype, size in sizes.most_common())
    return inventory, f"{formats}, {len(inventory)} tensors"
