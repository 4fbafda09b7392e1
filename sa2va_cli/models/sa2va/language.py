"""The language model: Qwen2 as transformers has it, sized from config.json."""

from typing import Any

from transformers import Qwen2Config, Qwen2ForCausalLM

from sa2va_cli.models.sa2va.config import LanguageConfig


def build_language_model(config: LanguageConfig, attention: str) -> Qwen2ForCausalLM:
    """Qwen2 with separate input embedding and head, as every published checkpoint has them."""
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_key_value_heads,
            rms_norm_eps=config.rms_norm_eps,
            max_position_embeddings=config.max_position_embeddings,
            rope_parameters=rope_parameters(config),
            tie_word_embeddings=config.tie_word_embeddings,
            attn_implementation=attention,
        )
    )


def rope_parameters(config: LanguageConfig) -> dict[str, Any]:
    """Rotary settings in transformers' words. "dynamic" acts only beyond the trained length."""
    scaling = dict(config.rope_scaling or {})
    rope_type = scaling.pop("rope_type", None) or scaling.pop("type", None) or "default"
    scaling.pop("type", None)
    return {**scaling, "rope_type": rope_type, "rope_theta": config.rope_theta}
