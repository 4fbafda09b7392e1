"""Published weights into our model: checked whole before reading, then moved tensor by tensor."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from tqdm import tqdm

from sa2va_cli.errors import CheckpointError
from sa2va_cli.models.sa2va.checkpoint_files import (
    TensorInfo,
    read_inventory,
    with_original_decoder,
)
from sa2va_cli.models.sa2va.config import Sa2vaConfig
from sa2va_cli.models.sa2va.keys import MODIFIED_DECODER, KeyMap, Target
from sa2va_cli.models.sa2va.model import Sa2vaModel, meta_model

PROGRESS_DELAY = 3  # seconds: a short load shows nothing
# Small parts between language and mask stay in float32: rounding them moves whole masks (on the
# golden cases the mean IoU of bfloat16 against float32 is 0.95 instead of 0.84), and costs little.
PRECISE_PARTS = (
    "seg_bridge.",
    "segmenter.mask_decoder.",
    "segmenter.tracking_decoder.",
    "segmenter.mask_prompt.",
    "segmenter.prompt_tokens.",
    "segmenter.pointer_projection.",
    "segmenter.no_object_pointer",
)
# On a CPU, bfloat16 is for the part that is published in it. Rounding the language model or SAM 2's
# eye as well takes single masks of the golden cases down to an IoU of 0.8.
VISION_TOWER = "vision_encoder."
STORED_DTYPES = ("F64", "F32", "F16", "BF16")  # others are quantised: numbers without their scale


@dataclass(frozen=True, slots=True)
class Placement:
    """Where weights go, and in which form."""

    device: torch.device
    dtype: torch.dtype
    attention: str = "sdpa"

    def dtype_of(self, name: str) -> torch.dtype:
        """The form in which the weight of this name is kept."""
        if self.device.type == "cpu" and self.dtype == torch.bfloat16:
            rounded = name.startswith(VISION_TOWER)
        else:
            rounded = not name.startswith(PRECISE_PARTS)
        return self.dtype if rounded else torch.float32


def load_model(
    folder: Path, config: Sa2vaConfig, placement: Placement, sam2_weights: Path | None = None
) -> Sa2vaModel:
    """Build the model on no device, then put each tensor where it belongs.

    `sam2_weights` is a SAM 2.0 Hiera-L file whose mask decoder makes a plain checkpoint one with
    two decoders.

    Host memory holds no more than the file being read. Raises CheckpointError, naming the tensor,
    for anything missing, unknown or of another shape, before the first byte of weights is read.
    """
    inventory = read_inventory(folder)
    if sam2_weights is not None:
        inventory = with_original_decoder(inventory, sam2_weights)
    two_decoders = any(name.startswith(MODIFIED_DECODER) for name in inventory)
    keys = KeyMap(two_decoders=two_decoders)
    model = meta_model(replace(config, two_decoders=two_decoders), placement.attention)
    check_inventory(inventory, model, keys)
    try:
        for name, weight in _read_weights(inventory, keys):
            _assign(model, name, weight.to(placement.device, placement.dtype_of(name)))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"The weights in {folder} cannot be read: {error}.", hint="download them again"
        ) from error
    model.restore_computed_buffers(placement.device)
    return model.requires_grad_(False)


def with_attention(model: Sa2vaModel, attention: str) -> Sa2vaModel:
    """The same weights in networks with another attention; nothing is copied."""
    twin = meta_model(model.config, attention)
    twin.load_state_dict(model.state_dict(), assign=True)
    twin.restore_computed_buffers(model.language_model.device)
    return twin.requires_grad_(False)


def check_inventory(inventory: dict[str, TensorInfo], model: nn.Module, keys: KeyMap) -> None:
    """Names and shapes of a checkpoint must be exactly those of the model."""
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for published, info in inventory.items():
        where = keys.target(published)
        if where is None:
            raise CheckpointError(
                f"Unknown tensor {published!r} in {info.file.name}.",
                hint="is this a Sa2VA checkpoint, and the config.json that belongs to it?",
            )
        if where.names and info.dtype not in STORED_DTYPES:
            raise CheckpointError(
                f"Tensor {published!r} is stored as {info.dtype}.",
                hint=f"quantised weights are not read: only {', '.join(STORED_DTYPES)}",
            )
        for name in where.names:
            found[name] = (_part_shape(info.shape, len(where.names)), published)
    _report_missing(expected.keys() - found.keys(), keys)
    for name, (shape, published) in found.items():
        if name not in expected:
            raise CheckpointError(
                f"Tensor {published!r} has no place in a model of this config.json.",
                hint="is config.json the one that belongs to these weights?",
            )
        if shape != expected[name]:
            raise CheckpointError(
                f"Tensor {published!r} has the shape {inventory[published].shape}; "
                f"config.json makes it {_whole_shape(expected[name], keys.target(published))}.",
                hint="is config.json the one that belongs to these weights?",
            )


def published_state_dict(model: Sa2vaModel) -> dict[str, Tensor]:
    """Our weights under their published names, for writing a checkpoint."""
    keys = KeyMap(two_decoders=model.config.two_decoders)
    parts: dict[str, dict[int, Tensor]] = {}
    for name, weight in model.state_dict().items():
        published, part = keys.published_name(name)
        parts.setdefault(published, {})[part or 0] = weight
    return {
        name: torch.cat([found[part] for part in sorted(found)]) if len(found) > 1 else found[0]
        for name, found in parts.items()
    }


def _read_weights(inventory: dict[str, TensorInfo], keys: KeyMap) -> Iterator[tuple[str, Tensor]]:
    files: dict[Path, list[str]] = {}
    for published, info in inventory.items():
        files.setdefault(info.file, []).append(published)
    total = sum(info.num_bytes for info in inventory.values())
    with tqdm(
        total=total, desc="loading weights", unit="B", unit_scale=True, delay=PROGRESS_DELAY,
        disable=None, leave=False,
    ) as bar:  # fmt: skip
        for path, names in files.items():
            with safe_open(str(path), framework="pt") as file:
                for published in names:
                    where = keys.target(published)
                    if where is not None and where.names:
                        weight = file.get_tensor(inventory[published].name)
                        yield from zip(where.names, weight.chunk(len(where.names)), strict=True)
                    bar.update(inventory[published].num_bytes)


def _assign(model: nn.Module, name: str, weight: Tensor) -> None:
    *path, leaf = name.split(".")
    module = model.get_submodule(".".join(path))
    if leaf in module._buffers:
        module.register_buffer(leaf, weight)
    else:
        setattr(module, leaf, nn.Parameter(weight, requires_grad=False))


def _report_missing(missing: set[str], keys: KeyMap) -> None:
    if not missing:
        return
    published = sorted({keys.published_name(name)[0] for name in missing})
    raise CheckpointError(
        f"{len(published)} tensors are missing in the checkpoint, the first is {published[0]!r}.",
        hint="the download may be incomplete, or config.json is of another model",
    )


def _part_shape(shape: tuple[int, ...], parts: int) -> tuple[int, ...]:
    if parts == 1 or not shape or shape[0] % parts:
        return shape
    return (shape[0] // parts, *shape[1:])


def _whole_shape(shape: tuple[int, ...], where: Target | None) -> tuple[int, ...]:
    parts = len(where.names) if where else 1
    return (shape[0] * parts, *shape[1:]) if parts > 1 else shape
