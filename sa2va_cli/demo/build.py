"""The demo model's sizes, and the model with fresh weights."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sa2va_cli.demo.tokenizer import train_tokenizer
from sa2va_cli.models.sa2va.config import parse_config
from sa2va_cli.models.sa2va.image_encoder import sine_positions
from sa2va_cli.models.sa2va.model import Sa2vaModel

TILE = 160
PATCH = 10
GRID = TILE // PATCH // 2  # visual tokens along a side
SAM_SIZE = 288


def demo_config(vocab_size: int) -> dict[str, Any]:
    """config.json of the demo checkpoint: published keys, small sizes, one tile."""
    return {
        "architectures": ["Sa2VAChatModel"],
        "downsample_ratio": 0.5,
        "force_image_size": TILE,
        "max_dynamic_patch": 1,
        "min_dynamic_patch": 1,
        "model_type": "sa2va_chat",
        "ps_version": "v2",
        "select_layer": -1,
        "template": "qwen_chat",
        "tie_word_embeddings": False,
        "tiling_config": {"max_tiles": 1},
        "use_thumbnail": False,
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "hidden_act": "gelu",
            "hidden_size": 128,
            "image_size": TILE,
            "intermediate_size": 384,
            "layer_norm_eps": 1e-06,
            "norm_type": "layer_norm",
            "num_attention_heads": 4,
            "num_channels": 3,
            "num_hidden_layers": 4,
            "patch_size": PATCH,
            "qk_normalization": False,
            "qkv_bias": True,
        },
        "llm_config": {
            "architectures": ["Qwen2ForCausalLM"],
            "hidden_act": "silu",
            "hidden_size": 160,
            "intermediate_size": 448,
            "max_position_embeddings": 4096,
            "model_type": "qwen2",
            "num_attention_heads": 5,
            "num_hidden_layers": 4,
            "num_key_value_heads": 5,
            "rms_norm_eps": 1e-06,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "vocab_size": vocab_size,
        },
        "grounding_encoder_config": {
            "image_size": SAM_SIZE,
            "backbone_embed_dim": 24,
            "backbone_num_heads": 1,
            "backbone_stages": [1, 2, 2, 1],
            "backbone_global_attention_blocks": [4],
            "backbone_window_pos_embed_size": [6, 6],
            "backbone_window_sizes": [8, 4, SAM_SIZE // 16, SAM_SIZE // 32],
            "d_model": 128,
            "mem_dim": 32,
            "memory_attention_num_layers": 2,
            "memory_attention_ffn_dim": 256,
            "mask_decoder_mlp_dim": 256,
            "iou_head_hidden_dim": 64,
        },
    }


def fresh_model(seed: int = 0, attention: str = "sdpa") -> Sa2vaModel:
    """The model with new weights, the same for the same seed."""
    config = parse_config(demo_config(train_tokenizer().get_vocab_size()))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Sa2vaModel(config, attention)
        _initialise(model)
    return model


def _initialise(model: Sa2vaModel) -> None:
    """What the networks of transformers leave at zero because checkpoints fill it."""
    segmenter = model.segmenter
    for parameter in (
        segmenter.no_memory_embedding,
        segmenter.no_object_pointer,
        segmenter.memory_time_embedding,
        segmenter.prompt_tokens.not_a_point,
        segmenter.prompt_tokens.no_mask,
    ):
        nn.init.normal_(parameter, std=0.02)
    nn.init.normal_(segmenter.prompt_tokens.position_matrix)
    language = model.language_model
    language.lm_head.weight.data.copy_(language.model.embed_tokens.weight)
    places = model.vision_encoder.embeddings.position_embeddings
    sides = sine_positions(2 * GRID, places.shape[-1], torch.device("cpu"))
    places.data[0, 1:] = sides  # else it takes long until the tower knows where it looks
    for name, parameter in model.vision_encoder.named_parameters():
        if "lambda_" in name:
            nn.init.ones_(parameter)


def write_config(folder: Path, vocab_size: int) -> None:
    text = json.dumps(demo_config(vocab_size), indent=2)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
