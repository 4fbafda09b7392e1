"""Sizes of the published models, to look at and to measure without their weights."""

from typing import Any

from sa2va_cli.errors import unknown_name
from sa2va_cli.models.sa2va.config import Sa2vaConfig, parse_config

# Qwen2.5: width, layers, heads, key/value heads, width of the MLP.
_LANGUAGE: dict[str, tuple[int, int, int, int, int]] = {
    "ByteDance/Sa2VA-1B": (896, 24, 14, 2, 4864),
    "ByteDance/Sa2VA-4B": (2048, 36, 16, 2, 11008),
    "ByteDance/Sa2VA-InternVL3-2B": (1536, 28, 12, 2, 8960),
    "ByteDance/Sa2VA-InternVL3-8B": (3584, 28, 28, 4, 18944),
    "ByteDance/Sa2VA-InternVL3-14B": (5120, 48, 40, 8, 13824),
}
PUBLISHED = tuple(_LANGUAGE)

LICENCES: dict[str, str] = {
    "code": "Apache-2.0",
    "weights": "stated on the model's hub page; those of InternVL, Qwen2.5 and SAM 2 apply too",
}
DEMO_LICENCE = {"weights": "Apache-2.0, like the code: trained from nothing by this project"}


def published_config(name: str) -> Sa2vaConfig:
    """Sizes of a published model by its hub name. Raises UsageError for one not in the table."""
    return parse_config(published_json(name))


def published_json(name: str) -> dict[str, Any]:
    """The parts of a published config.json that sa2va reads."""
    if name not in _LANGUAGE:
        raise unknown_name("published model", name, _LANGUAGE)
    width, layers, heads, key_value_heads, mlp = _LANGUAGE[name]
    return {
        "architectures": ["Sa2VAChatModel"],
        "template": "qwen_chat",
        "downsample_ratio": 0.5,
        "llm_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "vocab_size": 151679,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": key_value_heads,
            "intermediate_size": mlp,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000.0,
            "rope_scaling": {"type": "dynamic", "factor": 2.0},
        },
        "vision_config": {  # InternViT-300M
            "image_size": 448,
            "patch_size": 14,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
        },
    }
