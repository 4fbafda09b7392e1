"""Sizes of a Sa2VA model, from a published config.json, checked before anything is built."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sa2va_cli.errors import CheckpointError

ARCHITECTURES = ("Sa2VAChatModel",)
LANGUAGE_ARCHITECTURES = ("Qwen2ForCausalLM",)
TEMPLATES = ("qwen_chat", "internlm2_chat", "phi3_chat")
ROPE_TYPES = ("default", "linear", "dynamic", "yarn")
# Far above any model: what is larger is damage, and would take hours or all memory to find out.
MAX_SIZE, MAX_LAYERS, MAX_SIDE, MAX_TILES = 2**24, 1000, 8192, 100

# A published config.json says nothing about SAM 2: upstream fixes these (SAM 2.0, Hiera large).
HIERA_LARGE: dict[str, Any] = {
    "image_size": 1024,
    "backbone_embed_dim": 144,
    "backbone_num_heads": 2,
    "backbone_stages": [2, 6, 36, 4],
    "backbone_global_attention_blocks": [23, 33, 43],
    "backbone_window_pos_embed_size": [7, 7],
    "backbone_window_sizes": [8, 4, 16, 8],
    "d_model": 256,
    "mem_dim": 64,
    "memory_attention_num_layers": 4,
    "memory_attention_ffn_dim": 2048,
    "mask_decoder_mlp_dim": 2048,
    "iou_head_hidden_dim": 256,
}


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """InternViT and the projector behind it."""

    image_size: int  # side of a tile, pixels
    patch_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    qkv_bias: bool
    qk_normalization: bool
    norm_type: str  # layer_norm | rms_norm
    layer_norm_eps: float
    downsample_ratio: float  # of the pixel shuffle

    @property
    def grid_side(self) -> int:
        """Visual tokens along one side of a tile."""
        return int(self.image_size // self.patch_size * self.downsample_ratio)

    @property
    def tokens_per_tile(self) -> int:
        return self.grid_side**2

    @property
    def projector_input_size(self) -> int:
        return int(self.hidden_size / self.downsample_ratio**2)


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """The Qwen2 language model."""

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_key_value_heads: int
    rms_norm_eps: float
    max_position_embeddings: int
    rope_theta: float
    rope_scaling: dict[str, Any] | None
    tie_word_embeddings: bool

    @property
    def context_length(self) -> int | None:
        """Tokens that a prompt may have; None where "dynamic" scaling grows with it."""
        scaling = self.rope_scaling or {}
        if "dynamic" in (scaling.get("rope_type"), scaling.get("type")):
            return None
        return int(self.max_position_embeddings * scaling.get("factor", 1))


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """SAM 2.0. What is not here never changes: 7 memories, 16 pointers, stride 16, 8 heads."""

    image_size: int
    embed_dim: int
    num_heads: int
    stages: tuple[int, ...]
    global_attention_blocks: tuple[int, ...]
    background_size: tuple[int, int]
    window_sizes: tuple[int, ...]
    hidden_size: int  # C
    memory_size: int
    memory_attention_layers: int
    memory_attention_ffn: int
    decoder_mlp: int
    iou_head_hidden: int

    @property
    def feature_side(self) -> int:
        """Side of the stride-16 feature grid."""
        return self.image_size // 16

    @property
    def mask_side(self) -> int:
        """Side of the mask decoder's output."""
        return self.image_size // 4


@dataclass(frozen=True, slots=True)
class Sa2vaConfig:
    """Everything needed to build the model and to prepare its input."""

    vision: VisionConfig
    language: LanguageConfig
    segmenter: SegmenterConfig
    template: str
    max_tiles: int  # 12 in every published model; upstream does not read it from config.json
    dtype: str = ""  # as config.json tells it, for people: each tensor is loaded as it is stored
    two_decoders: bool = False  # Sa2VA-i; told by the checkpoint's tensors, not by config.json


def load_config(folder: Path) -> Sa2vaConfig:
    """Read and check `config.json` of a checkpoint folder.

    Raises CheckpointError for a missing or broken file, an unknown architecture, or a value that
    cannot be a size.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"No config.json in {folder}.", hint="give the folder that holds the whole checkpoint"
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(
            f"{path} is not JSON: {error}.", hint="download the checkpoint again"
        ) from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} is not a JSON object.", hint="download the checkpoint again")
    return parse_config(raw)


def parse_config(raw: dict[str, Any]) -> Sa2vaConfig:
    """Turn a published config.json (as a dictionary) into sizes."""
    root = _Section("config.json", raw)
    _check_architecture(root)
    language = root.section("llm_config")
    vision = root.section("vision_config")
    template = root.text("template", "qwen_chat").replace("-", "_")
    if template not in TEMPLATES:
        raise CheckpointError(
            f"Unknown chat template {template!r} in config.json.",
            hint=f"known templates: {', '.join(TEMPLATES)}",
        )
    tiling = root.section("tiling_config", {})
    config = Sa2vaConfig(
        vision=_vision_config(vision, root),
        language=_language_config(language),
        segmenter=_segmenter_config(root.section("grounding_encoder_config", {})),
        template=template,
        max_tiles=tiling.size("max_tiles", 12),
        dtype=str(raw.get("torch_dtype") or raw.get("dtype") or ""),
    )
    _check_consistency(config)
    return config


def _check_architecture(root: "_Section") -> None:
    names = root.names("architectures", list(ARCHITECTURES))
    if not set(names) & set(ARCHITECTURES):
        raise CheckpointError(
            f"Unknown architecture {names[0] if names else names!r} in config.json.",
            hint=f"sa2va reads {', '.join(ARCHITECTURES)} checkpoints (ByteDance/Sa2VA-*)",
        )


def _vision_config(vision: "_Section", root: "_Section") -> VisionConfig:
    if root.number("select_layer", -1) != -1 or root.text("ps_version", "v2") != "v2":
        raise CheckpointError(
            "config.json asks for an inner layer of the vision tower or an old pixel shuffle.",
            hint="published Sa2VA models have select_layer -1 and ps_version v2",
        )
    vision.check_activation("gelu")
    return VisionConfig(
        image_size=vision.size("image_size", 448),
        patch_size=vision.size("patch_size", 14),
        hidden_size=vision.size("hidden_size"),
        intermediate_size=vision.size("intermediate_size"),
        num_layers=vision.size("num_hidden_layers"),
        num_heads=vision.size("num_attention_heads"),
        qkv_bias=vision.flag("qkv_bias", default=True),
        qk_normalization=vision.flag("qk_normalization", default=False),
        norm_type=vision.text("norm_type", "layer_norm"),
        layer_norm_eps=vision.positive("layer_norm_eps", 1e-6),
        downsample_ratio=root.number("downsample_ratio", 0.5),
    )


def _language_config(language: "_Section") -> LanguageConfig:
    architectures = language.names("architectures", [])
    architecture = architectures[0] if architectures else "(none)"
    if architecture not in LANGUAGE_ARCHITECTURES:
        raise CheckpointError(
            f"Unknown language model {architecture!r} in config.json (llm_config.architectures).",
            hint=f"this version runs {', '.join(LANGUAGE_ARCHITECTURES)}",
        )
    num_heads = language.size("num_attention_heads")
    language.check_activation("silu")
    rope_scaling = language.section("rope_scaling", {})
    if rope_scaling.values:
        _check_rope(rope_scaling)
    return LanguageConfig(
        architecture=architecture,
        vocab_size=language.size("vocab_size"),
        hidden_size=language.size("hidden_size"),
        intermediate_size=language.size("intermediate_size"),
        num_layers=language.size("num_hidden_layers"),
        num_heads=num_heads,
        num_key_value_heads=language.size("num_key_value_heads", num_heads),
        rms_norm_eps=language.positive("rms_norm_eps", 1e-6),
        max_position_embeddings=language.size("max_position_embeddings", 32768),
        rope_theta=language.positive("rope_theta", 1e6),
        rope_scaling=rope_scaling.values or None,
        tie_word_embeddings=language.flag("tie_word_embeddings", default=False),
    )


def _check_rope(scaling: "_Section") -> None:
    kind = scaling.values.get("rope_type", scaling.values.get("type", "default"))
    if kind not in ROPE_TYPES:
        raise CheckpointError(
            f"Unknown rope_scaling {kind!r} in config.json.",
            hint=f"this version runs {', '.join(ROPE_TYPES)}",
        )
    if kind != "default":
        scaling.positive("factor")


def _segmenter_config(section: "_Section") -> SegmenterConfig:
    sizes = _Section(section.name, {**HIERA_LARGE, **section.values})
    background = sizes.size_list("backbone_window_pos_embed_size")
    return SegmenterConfig(
        image_size=sizes.size("image_size"),
        embed_dim=sizes.size("backbone_embed_dim"),
        num_heads=sizes.size("backbone_num_heads"),
        stages=sizes.size_list("backbone_stages"),
        global_attention_blocks=sizes.size_list("backbone_global_attention_blocks"),
        background_size=(background[0], background[-1]),
        window_sizes=sizes.size_list("backbone_window_sizes"),
        hidden_size=sizes.size("d_model"),
        memory_size=sizes.size("mem_dim"),
        memory_attention_layers=sizes.size("memory_attention_num_layers"),
        memory_attention_ffn=sizes.size("memory_attention_ffn_dim"),
        decoder_mlp=sizes.size("mask_decoder_mlp_dim"),
        iou_head_hidden=sizes.size("iou_head_hidden_dim"),
    )


def _check_consistency(config: Sa2vaConfig) -> None:
    vision, language, segmenter = config.vision, config.language, config.segmenter
    rules = [
        (vision.hidden_size % vision.num_heads == 0, "vision_config: heads must divide the width"),
        (vision.image_size % vision.patch_size == 0, "vision_config: patches must fill a tile"),
        (vision.norm_type in ("layer_norm", "rms_norm"), "vision_config: unknown norm_type"),
        (0 < vision.downsample_ratio <= 1, "downsample_ratio must be in (0, 1]"),
        (
            language.hidden_size % language.num_heads == 0,
            "llm_config: heads must divide the width",
        ),
        (
            language.num_heads % language.num_key_value_heads == 0,
            "llm_config: key/value heads must divide the heads",
        ),
        (
            segmenter.image_size % 32 == 0,
            "grounding_encoder_config: image_size is no multiple of 32",
        ),
        (segmenter.image_size <= MAX_SIDE, "grounding_encoder_config: image_size is too large"),
        (config.max_tiles <= MAX_TILES, f"tiling_config: max_tiles is over {MAX_TILES}"),
        (
            max(vision.num_layers, language.num_layers, *segmenter.stages) <= MAX_LAYERS,
            f"more than {MAX_LAYERS} layers",
        ),
        (len(segmenter.stages) == 4, "grounding_encoder_config: backbone_stages needs 4 numbers"),
        (len(segmenter.window_sizes) == 4, "grounding_encoder_config: 4 window sizes are needed"),
        (
            segmenter.hidden_size % segmenter.memory_size == 0,
            "grounding_encoder_config: mem_dim must divide d_model",
        ),
    ]
    for holds, message in rules:
        if not holds:
            raise CheckpointError(
                f"Sizes in config.json contradict each other: {message}.",
                hint="is config.json the one that belongs to these weights?",
            )


class _Section:
    """A part of config.json whose values are checked as they are read."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self.name = name
        self.values = values

    def section(self, key: str, default: dict[str, Any] | None = None) -> "_Section":
        value = self.values.get(key)
        value = default if value is None else value
        if not isinstance(value, dict):
            raise self._error(key, value, "an object")
        return _Section(f"{key} of {self.name}", value)

    def size(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._error(key, value, "a positive integer")
        if value > MAX_SIZE:
            raise self._error(key, value, f"at most {MAX_SIZE:,}")
        return value

    def size_list(self, key: str) -> tuple[int, ...]:
        value = self.values.get(key)
        good = isinstance(value, list) and value
        if not good or any(isinstance(v, bool) or not isinstance(v, int) or v < 0 for v in value):  # type: ignore[union-attr]
            raise self._error(key, value, "a list of integers")
        return tuple(value)  # type: ignore[arg-type]

    def positive(self, key: str, default: float | None = None) -> float:
        value = self.number(key, default)
        if value <= 0:
            raise self._error(key, value, "above 0")
        return value

    def number(self, key: str, default: float | None) -> float:
        value = self.values.get(key, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise self._error(key, value, "a finite number")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self._error(key, value, "true or false")
        return value

    def text(self, key: str, default: str) -> str:
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise self._error(key, value, "a string")
        return value

    def names(self, key: str, default: list[str]) -> list[str]:
        value = self.values.get(key, default)
        if not isinstance(value, list) or any(not isinstance(name, str) for name in value):
            raise self._error(key, value, "a list of names")
        return value

    def check_activation(self, only: str) -> None:
        """Other networks have the same names and shapes, but compute something else."""
        if self.text("hidden_act", only) != only:
            raise self._error("hidden_act", self.values["hidden_act"], repr(only))

    def _error(self, key: str, value: object, expected: str) -> CheckpointError:
        found = "is missing" if value is None else f"is {value!r}"
        return CheckpointError(
            f"{key!r} in {self.name} {found}, not {expected}.",
            hint="is config.json complete, and the one that belongs to these weights?",
        )
