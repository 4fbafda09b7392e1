"""The files of a checkpoint folder: which there are, what tensors they hold, what they are worth.

Headers are read here, weights are not; no torch, so that a command line may look before it loads.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sa2va_cli.errors import CheckpointError
from sa2va_cli.models.sa2va.keys import (
    MODIFIED_DECODER,
    ORIGINAL_DECODER,
    TRACKING_DECODER,
    KeyMap,
)

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
# All that is ever downloaded or read. No code, nothing pickled.
ALLOWED_FILES = ("config.json", *TOKENIZER_FILES, INDEX_FILE, "*.safetensors")
PICKLED = (".pt", ".pth", ".bin", ".ckpt")
ONLY_IN_SAM21 = ("no_obj_embed_spatial", "occlusion_spatial_embedding_parameter")
SAMPLE_BYTES = 2**12
SAMPLES_APART = 2**22  # bytes, at most: of 10 GiB in 1,500 tensors, 18 MiB are read
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as its file declares it."""

    file: Path
    name: str  # in that file
    shape: tuple[int, ...]
    dtype: str  # safetensors' name: F32, BF16, …
    num_bytes: int
    start: int  # of its bytes in the file


def read_inventory(folder: Path) -> dict[str, TensorInfo]:
    """All tensors of a checkpoint by published name, from the headers of its weight files.

    Raises CheckpointError for missing, truncated or unreadable files.
    """
    inventory: dict[str, TensorInfo] = {}
    for path in weight_files(folder):
        for name, info in read_header(path).items():
            if name in inventory:
                raise CheckpointError(
                    f"Tensor {name!r} stands in {inventory[name].file.name} and in {path.name}.",
                    hint="remove the file that does not belong to the checkpoint",
                )
            inventory[name] = info
    _check_index(folder, inventory)
    return inventory


def weight_files(folder: Path) -> list[Path]:
    """model.safetensors, or the shards that the index names."""
    if not folder.is_dir():
        raise CheckpointError(
            f"No checkpoint folder {folder}.", hint="give an existing folder or a hub name"
        )
    if (folder / SINGLE_FILE).is_file():
        return [folder / SINGLE_FILE]
    if (folder / INDEX_FILE).is_file():
        return _shards(folder)
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        raise CheckpointError(
            f"{folder} holds pickled weights only (.bin or .pt).",
            hint="sa2va never unpickles: convert the checkpoint to safetensors first",
        )
    raise CheckpointError(
        f"No weights in {folder}: neither {SINGLE_FILE} nor {INDEX_FILE}.",
        hint="download the checkpoint again",
    )


def read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors that one safetensors file declares, checked against the file's length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else MAX_HEADER_BYTES + 1
        if length > min(MAX_HEADER_BYTES, size - 8):
            raise _truncated(path, "its header is cut off")
        try:
            header = json.loads(file.read(length))
            tensors = {
                name: _tensor_info(path, name, entry, 8 + length)
                for name, entry in header.items()
                if name != "__metadata__"
            }
            end = max((e["data_offsets"][1] for n, e in header.items() if n != "__metadata__"))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise _truncated(path, f"its header is broken ({error})") from error
    if 8 + length + end != size:
        raise _truncated(path, f"it has {size:,} bytes instead of {8 + length + end:,}")
    return tensors


def fingerprint(folder: Path) -> str:
    """16 hex digits that change when the checkpoint does.

    Small files count whole; of weights the header, and samples from all over each tensor.
    """
    files = [folder / "config.json", *(folder / name for name in TOKENIZER_FILES)]
    return files_fingerprint([*(file for file in files if file.is_file()), *weight_files(folder)])


def files_fingerprint(paths: Iterable[Path]) -> str:
    """The same of single files; wherever they lie."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{path.stat().st_size}:".encode())
        with path.open("rb", buffering=0) as file:
            for start, length in _samples(path):
                file.seek(start)
                digest.update(file.read(length))
    return digest.hexdigest()[:16]


def _samples(path: Path) -> Iterator[tuple[int, int]]:
    """(start, length) in bytes of what is looked at, in the order of the file.

    Fine-tuning leaves whole parts of a model as they were, and of an embedding all but some rows.
    """
    if path.suffix != ".safetensors":
        yield 0, path.stat().st_size
        return
    tensors = sorted(read_header(path).values(), key=lambda info: info.start)
    yield 0, tensors[0].start
    for info in tensors:
        last = info.num_bytes - SAMPLE_BYTES
        if last <= 2 * SAMPLE_BYTES:
            yield info.start, info.num_bytes
            continue
        steps = max(2, -(-last // SAMPLES_APART))
        for step in range(steps + 1):
            yield info.start + step * last // steps, SAMPLE_BYTES


def _shards(folder: Path) -> list[Path]:
    names = sorted(set(_read_index(folder).values()))
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise CheckpointError(
                f"{INDEX_FILE} names {name!r}, which is no safetensors file of the folder.",
                hint="download the checkpoint again",
            )
        if not (folder / name).is_file():
            raise CheckpointError(
                f"Shard {name} of the checkpoint is missing in {folder}.",
                hint="download the checkpoint again",
            )
    return [folder / name for name in names]


def _read_index(folder: Path) -> dict[str, str]:
    path = folder / INDEX_FILE
    try:
        weight_map = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        return {str(tensor): str(file) for tensor, file in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise CheckpointError(
            f"{path} is not an index of shards ({error}).", hint="download the checkpoint again"
        ) from error


def _check_index(folder: Path, inventory: dict[str, TensorInfo]) -> None:
    if (folder / SINGLE_FILE).is_file():
        return
    missing = sorted(_read_index(folder).keys() - inventory.keys())
    if missing:
        raise CheckpointError(
            f"{len(missing)} tensors of the index are in no shard, the first is {missing[0]!r}.",
            hint="download the checkpoint again",
        )


def _tensor_info(path: Path, name: str, entry: dict[str, Any], data_start: int) -> TensorInfo:
    start, end = (int(offset) for offset in entry["data_offsets"])
    if not 0 <= start <= end:
        raise ValueError(f"{name} lies at {start} to {end}")
    shape = tuple(int(side) for side in entry["shape"])
    return TensorInfo(path, name, shape, str(entry["dtype"]), end - start, data_start + start)


def _truncated(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is truncated or no safetensors file: {why}.",
        hint="download it again",
    )


def with_original_decoder(
    inventory: dict[str, TensorInfo], sam2_weights: Path
) -> dict[str, TensorInfo]:
    """The tensors of a plain checkpoint and of SAM 2's own decoder, named as Sa2VA-i names them.

    The file may use the original names of SAM 2 or those of transformers. Raises CheckpointError
    if there is no mask decoder in it.
    """
    if any(name.startswith(MODIFIED_DECODER) for name in inventory):
        raise CheckpointError(
            "This checkpoint has the original SAM 2 decoder already.",
            hint="leave --sam2-weights out",
        )
    if not os.path.isfile(sam2_weights):  # Path.is_file raises for too long a name
        raise CheckpointError(f"No file {sam2_weights}.", hint="give a safetensors file of SAM 2.0")
    if sam2_weights.suffix in PICKLED:
        raise CheckpointError(
            f"{sam2_weights} is pickled.",
            hint="sa2va never unpickles: give SAM 2.0 Hiera-L as safetensors",
        )
    keys = KeyMap(two_decoders=True)
    original: dict[str, TensorInfo] = {}
    for name, info in read_header(sam2_weights).items():
        if name in ONLY_IN_SAM21:
            raise CheckpointError(
                f"{sam2_weights} holds SAM 2.1; Sa2VA is built on SAM 2.0.",
                hint="give sam2-hiera-large (SAM 2.0) as safetensors",
            )
        if name.startswith("sam_mask_decoder."):
            original[ORIGINAL_DECODER + name.removeprefix("sam_mask_decoder.")] = info
        elif name.startswith("mask_decoder."):
            ours = TRACKING_DECODER + name.removeprefix("mask_decoder.")
            original[keys.published_name(ours)[0]] = info
    if not original:
        raise CheckpointError(
            f"{sam2_weights} holds no mask decoder of SAM 2.",
            hint="give sam2-hiera-large (SAM 2.0) as safetensors",
        )
    renamed = {
        name.replace(ORIGINAL_DECODER, MODIFIED_DECODER, 1): info
        for name, info in inventory.items()
    }
    return renamed | original
