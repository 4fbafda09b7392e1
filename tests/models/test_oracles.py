"""Each network part against transformers' own whole model, on the same seeded random weights."""

import pytest
import torch
from torch import nn
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    Sam2Config,
    Sam2Model,
    Sam2VideoConfig,
)
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoMemoryAttention

from sa2va_cli.models.sa2va.config import load_config
from sa2va_cli.models.sa2va.image_encoder import ImageEncoder, sine_positions
from sa2va_cli.models.sa2va.memory import MemoryAttention
from sa2va_cli.models.sa2va.segmenter import Segmenter
from sa2va_cli.models.sa2va.vision import Projector, build_vision_encoder, visual_tokens


@pytest.fixture(scope="module")
def config(golden_checkpoint):
    return load_config(golden_checkpoint)


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every weight, also those that start as zeros or ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in [
            *module.parameters(),
            *(b for b in module.buffers() if b.is_floating_point()),
        ]:
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return module.eval()


@torch.inference_mode()
def test_the_vision_path_equals_internvl(config):
    vision = config.vision
    ours = randomise(build_vision_encoder(vision, "sdpa"))
    projector = randomise(Projector(vision.projector_input_size, 64), seed=1)
    whole = InternVLForConditionalGeneration(
        InternVLConfig(
            vision_config=ours.config,
            text_config={
                "model_type": "qwen2", "hidden_size": 64, "num_hidden_layers": 1,
                "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 8,
                "intermediate_size": 8,
            },
            image_token_id=7,
        )
    ).eval()  # fmt: skip
    whole.model.vision_tower.load_state_dict(ours.state_dict())
    theirs = whole.model.multi_modal_projector
    for mine, other in zip(
        (projector.layers[0], projector.layers[1], projector.layers[3]),
        (theirs.layer_norm, theirs.linear_1, theirs.linear_2),
        strict=True,
    ):
        other.load_state_dict(mine.state_dict())
    pixels = torch.randn(2, 3, 448, 448, generator=torch.Generator().manual_seed(2))
    expected = whole.model.get_image_features(
        pixels, vision_feature_layer=-1, vision_feature_select_strategy="default"
    )
    expected = getattr(expected, "pooler_output", expected)
    tokens = visual_tokens(ours, projector, pixels, vision.downsample_ratio)
    torch.testing.assert_close(tokens, expected.view_as(tokens), atol=1e-5, rtol=1e-4)


def sam2_model(config) -> Sam2Model:
    """transformers' SAM 2 of our sizes."""
    segmenter = config.segmenter
    encoder = ImageEncoder(segmenter)
    width = segmenter.hidden_size
    channels = [segmenter.embed_dim * 2**stage for stage in range(4)]
    model = Sam2Model(
        Sam2Config(
            vision_config={
                "model_type": "sam2_vision_model",
                "backbone_config": encoder.backbone.config.to_dict(),
                "backbone_channel_list": channels[::-1],
                "backbone_feature_sizes": [[segmenter.image_size // s] * 2 for s in (4, 8, 16)],
                "fpn_hidden_size": width,
            },
            prompt_encoder_config={"hidden_size": width, "image_size": segmenter.image_size},
            mask_decoder_config={
                "hidden_size": width,
                "mlp_dim": segmenter.decoder_mlp,
                "iou_head_hidden_dim": segmenter.iou_head_hidden,
            },
        )
    )
    return randomise(model)


@torch.inference_mode()
def test_the_sam2_image_path_equals_sam2model(config):
    """One point labelled -1 is what Sa2VA sends beside its language token; without that token the
    two must agree."""
    theirs = sam2_model(config)
    ours = randomise(Segmenter(config.segmenter, two_decoders=False), seed=9)
    ours.image_encoder.backbone.load_state_dict(theirs.vision_encoder.backbone.state_dict())
    ours.image_encoder.neck.load_state_dict(
        {k: v for k, v in theirs.vision_encoder.neck.state_dict().items() if k.startswith("convs")}
    )
    ours.mask_decoder.load_state_dict(theirs.mask_decoder.state_dict())
    ours.prompt_tokens.not_a_point.copy_(theirs.prompt_encoder.not_a_point_embed.weight)
    ours.prompt_tokens.no_mask.copy_(theirs.prompt_encoder.no_mask_embed.weight)
    ours.prompt_tokens.position_matrix.copy_(theirs.shared_image_embedding.positional_embedding)
    ours.no_memory_embedding.copy_(theirs.no_memory_embedding)

    pixels = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(3))
    expected = theirs(
        pixel_values=pixels,
        input_points=torch.zeros(1, 1, 1, 2),
        input_labels=-torch.ones(1, 1, 1, dtype=torch.int),
        multimask_output=True,
    )
    features = ours.encode(pixels)
    decoded = ours.decode_prompts(features, torch.zeros(1, 0, config.segmenter.hidden_size))
    best = expected.iou_scores[0, 0].argmax()
    torch.testing.assert_close(
        decoded.mask_logits[0], expected.pred_masks[0, 0, best], atol=2e-4, rtol=1e-3
    )
    torch.testing.assert_close(decoded.scores[0], expected.iou_scores[0, 0, best])
    torch.testing.assert_close(decoded.object_logits[0], expected.object_score_logits.flatten()[0])


@torch.inference_mode()
def test_memory_attention_equals_transformers(config):
    from dataclasses import replace

    segmenter = replace(config.segmenter, memory_size=64)  # all that transformers' class allows
    ours = randomise(MemoryAttention(segmenter))
    side, width = segmenter.feature_side, segmenter.hidden_size
    theirs = Sam2VideoMemoryAttention(
        Sam2VideoConfig(
            memory_attention_hidden_size=width,
            memory_attention_num_layers=segmenter.memory_attention_layers,
            memory_attention_feed_forward_hidden_size=segmenter.memory_attention_ffn,
            memory_attention_rope_feat_sizes=[side, side],
        )
    ).eval()
    names = {
        "out_proj": "o_proj",
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        "norm3": "layer_norm3",
    }
    renamed = {}
    for key, value in ours.state_dict().items():
        parts = [names.get(part, part) for part in key.split(".")]
        renamed[
            ".".join(parts).replace("norm.", "layer_norm.")
            if key.startswith("norm")
            else ".".join(parts)
        ] = value
    theirs.load_state_dict(renamed)

    generator = torch.Generator().manual_seed(4)
    coarse = torch.randn(1, width, side, side, generator=generator)
    memory = torch.randn(3, 2 * side * side + 8, 64, generator=generator)
    positions = torch.randn(2 * side * side + 8, 64, generator=generator)
    for index in range(3):
        expected = theirs(
            current_vision_features=coarse.flatten(2).permute(2, 0, 1),
            memory=memory[index : index + 1].transpose(0, 1),
            current_vision_position_embeddings=sine_positions(side, width, coarse.device)[:, None],
            memory_posision_embeddings=positions[:, None],
            num_object_pointer_tokens=8,
        )
        output = ours(coarse, memory, positions, 8)[index]
        expected = expected.reshape(side * side, width).T.reshape(width, side, side)
        torch.testing.assert_close(output, expected, atol=2e-5, rtol=1e-4)


def test_sine_positions_equal_transformers(config):
    from transformers.models.sam2.modeling_sam2 import Sam2SinePositionEmbedding

    theirs = Sam2SinePositionEmbedding(num_position_features=32, normalize=True)
    expected = theirs(torch.Size((1, 64, 16, 16)), torch.device("cpu"), torch.float32)
    ours = sine_positions(16, 64, torch.device("cpu"))
    torch.testing.assert_close(ours, expected[0].flatten(1).T, atol=1e-6, rtol=1e-5)
