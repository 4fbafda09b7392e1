"""One table: published tensor names and ours. Every published tensor has a row, or loading fails.

In a pattern `{n}` is a number and `{rest}` the end of the name. The table is read both ways:
to load published weights, and to write weights in the published layout.
"""

import re
from dataclasses import dataclass

_SAM = "grounding_encoder.sam2_model."
_MEMORY = _SAM + "memory_encoder."
_VIT_LAYER = "vision_model.encoder.layers.{n}."
_OUR_VIT_LAYER = "vision_encoder.encoder.layer.{n}."
_TRUNK = _SAM + "image_encoder.trunk."
_OUR_TRUNK = "segmenter.image_encoder.backbone."
ORIGINAL_DECODER = _SAM + "sam_mask_decoder."
MODIFIED_DECODER = _SAM + "sam_mask_decoder_modified."
_OUR_DECODER = "segmenter.mask_decoder."
TRACKING_DECODER = "segmenter.tracking_decoder."
_OUR_MEMORY = "segmenter.memory_encoder."


def _mlp(published: str, ours: str, num_layers: int) -> list[tuple[str, str]]:
    """SAM 2's MLPs number their layers; transformers names the first and the last."""
    inner = [f"layers.{layer}" for layer in range(num_layers - 2)]
    names = ["proj_in", *inner, "proj_out"]
    return [
        (f"{published}layers.{number}.{{rest}}", f"{ours}{name}.{{rest}}")
        for number, name in enumerate(names)
    ]


def _decoder(published: str, ours: str) -> list[tuple[str, str]]:
    """The rows of a mask decoder."""
    attentions = (
        "layers.{n}.self_attn.",
        "layers.{n}.cross_attn_token_to_image.",
        "layers.{n}.cross_attn_image_to_token.",
        "final_attn_token_to_image.",
    )
    renamed = {
        **{f"transformer.{where}out_proj": f"transformer.{where}o_proj" for where in attentions},
        **{
            f"transformer.layers.{{n}}.norm{norm}": f"transformer.layers.{{n}}.layer_norm{norm}"
            for norm in (1, 2, 3, 4)
        },
        "transformer.norm_final_attn": "transformer.layer_norm_final_attn",
        "output_upscaling.0": "upscale_conv1",
        "output_upscaling.1": "upscale_layer_norm",
        "output_upscaling.3": "upscale_conv2",
    }
    mlps = {
        "transformer.layers.{n}.mlp.": 2,
        "output_hypernetworks_mlps.{n}.": 3,
        "iou_prediction_head.": 3,
        "pred_obj_score_head.": 3,
    }
    return [
        *((f"{published}{a}.{{rest}}", f"{ours}{b}.{{rest}}") for a, b in renamed.items()),
        *(
            row
            for name, layers in mlps.items()
            for row in _mlp(published + name, ours + name, layers)
        ),
        (published + "{rest}", ours + "{rest}"),
    ]


# Published pattern -> ours, most specific first.
RENAMED: list[tuple[str, str]] = [
    # InternViT and projector
    ("vision_model.embeddings.class_embedding", "vision_encoder.embeddings.cls_token"),
    ("vision_model.embeddings.position_embedding", "vision_encoder.embeddings.position_embeddings"),
    (
        "vision_model.embeddings.patch_embedding.{rest}",
        "vision_encoder.embeddings.patch_embeddings.projection.{rest}",
    ),
    (_VIT_LAYER + "ls1", _OUR_VIT_LAYER + "lambda_1"),
    (_VIT_LAYER + "ls2", _OUR_VIT_LAYER + "lambda_2"),
    (_VIT_LAYER + "attn.proj.{rest}", _OUR_VIT_LAYER + "attention.projection_layer.{rest}"),
    (_VIT_LAYER + "attn.q_norm.{rest}", _OUR_VIT_LAYER + "attention.q_norm.{rest}"),
    (_VIT_LAYER + "attn.k_norm.{rest}", _OUR_VIT_LAYER + "attention.k_norm.{rest}"),
    (_VIT_LAYER + "norm1.{rest}", _OUR_VIT_LAYER + "layernorm_before.{rest}"),
    (_VIT_LAYER + "norm2.{rest}", _OUR_VIT_LAYER + "layernorm_after.{rest}"),
    (_VIT_LAYER + "mlp.{rest}", _OUR_VIT_LAYER + "mlp.{rest}"),
    ("mlp1.{rest}", "projector.layers.{rest}"),
    # Language model and bridge
    ("language_model.{rest}", "language_model.{rest}"),
    ("text_hidden_fcs.{rest}", "seg_bridge.layers.{rest}"),
    # SAM 2: image encoder
    (_TRUNK + "patch_embed.proj.{rest}", _OUR_TRUNK + "patch_embed.projection.{rest}"),
    (_TRUNK + "blocks.{n}.norm1.{rest}", _OUR_TRUNK + "blocks.{n}.layer_norm1.{rest}"),
    (_TRUNK + "blocks.{n}.norm2.{rest}", _OUR_TRUNK + "blocks.{n}.layer_norm2.{rest}"),
    *_mlp(_TRUNK + "blocks.{n}.mlp.", _OUR_TRUNK + "blocks.{n}.mlp.", 2),
    (_TRUNK + "{rest}", _OUR_TRUNK + "{rest}"),
    (
        _SAM + "image_encoder.neck.convs.{n}.conv.{rest}",
        "segmenter.image_encoder.neck.convs.{n}.{rest}",
    ),
    # SAM 2: prompt tokens
    (_SAM + "sam_prompt_encoder.not_a_point_embed.weight", "segmenter.prompt_tokens.not_a_point"),
    (_SAM + "sam_prompt_encoder.no_mask_embed.weight", "segmenter.prompt_tokens.no_mask"),
    (
        _SAM + "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "segmenter.prompt_tokens.position_matrix",
    ),
    # SAM 2: masks as prompts, which only Sa2VA-i uses
    (_SAM + "mask_downsample.{rest}", "segmenter.mask_prompt.downsample.{rest}"),
    *(
        (
            _SAM + f"sam_prompt_encoder.mask_downscaling.{number}.{{rest}}",
            f"segmenter.mask_prompt.network.{name}.{{rest}}",
        )
        for number, name in enumerate(
            ("conv1", "layer_norm1", "", "conv2", "layer_norm2", "", "conv3")
        )
        if name
    ),
    # SAM 2: memory
    (_SAM + "memory_attention.{rest}", "segmenter.memory_attention.{rest}"),
    *(
        pair
        for layer in range(4)
        for pair in (
            (
                _MEMORY + f"mask_downsampler.encoder.{3 * layer}.{{rest}}",
                _OUR_MEMORY + f"mask_downsampler.layers.{layer}.conv.{{rest}}",
            ),
            (
                _MEMORY + f"mask_downsampler.encoder.{3 * layer + 1}.{{rest}}",
                _OUR_MEMORY + f"mask_downsampler.layers.{layer}.layer_norm.{{rest}}",
            ),
        )
    ),
    (
        _MEMORY + "mask_downsampler.encoder.12.{rest}",
        _OUR_MEMORY + "mask_downsampler.final_conv.{rest}",
    ),
    (_MEMORY + "pix_feat_proj.{rest}", _OUR_MEMORY + "feature_projection.{rest}"),
    (_MEMORY + "fuser.layers.{n}.g_weight", _OUR_MEMORY + "memory_fuser.layers.{n}.scale"),
    *(
        (
            _MEMORY + f"fuser.layers.{{n}}.{published}.{{rest}}",
            _OUR_MEMORY + f"memory_fuser.layers.{{n}}.{ours}.{{rest}}",
        )
        for published, ours in (
            ("dwconv", "depthwise_conv"),
            ("norm", "layer_norm"),
            ("pwconv1", "pointwise_conv1"),
            ("pwconv2", "pointwise_conv2"),
        )
    ),
    (_MEMORY + "out_proj.{rest}", _OUR_MEMORY + "projection.{rest}"),
    *_mlp(_SAM + "obj_ptr_proj.", "segmenter.pointer_projection.", 3),
    (_SAM + "no_mem_embed", "segmenter.no_memory_embedding"),
    (_SAM + "no_obj_ptr", "segmenter.no_object_pointer"),
    (_SAM + "maskmem_tpos_enc", "segmenter.memory_time_embedding"),
]

_ONE_DECODER = _decoder(ORIGINAL_DECODER, _OUR_DECODER)
# Sa2VA-i: Sa2VA's own decoder beside the original one of SAM 2.
_TWO_DECODERS = [
    *_decoder(MODIFIED_DECODER, _OUR_DECODER),
    *_decoder(ORIGINAL_DECODER, TRACKING_DECODER),
]

# One published tensor -> three of ours, cut along its first dimension.
SPLIT: tuple[str, tuple[str, str, str]] = (
    _VIT_LAYER + "attn.qkv.{rest}",
    (
        _OUR_VIT_LAYER + "attention.q_proj.{rest}",
        _OUR_VIT_LAYER + "attention.k_proj.{rest}",
        _OUR_VIT_LAYER + "attention.v_proj.{rest}",
    ),
)

# Published, but never used to answer: what only clicks and boxes of SAM 2 need.
DROPPED: list[str] = [
    _SAM + "no_mem_pos_enc",
    _SAM + "sam_prompt_encoder.point_embeddings.{n}.weight",
]
# Dropped, too, where there is one decoder only: masks as prompts are for the original one.
DROPPED_WITH_ONE_DECODER: list[str] = [
    _SAM + "mask_downsample.{rest}",
    _SAM + "sam_prompt_encoder.mask_downscaling.{rest}",
]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a published tensor goes: names of ours, more than one where it is cut in parts."""

    names: tuple[str, ...]  # empty: dropped


class KeyMap:
    """The table for one kind of checkpoint: with one mask decoder, or with two (Sa2VA-i)."""

    def __init__(self, *, two_decoders: bool) -> None:
        self.two_decoders = two_decoders
        self._dropped = DROPPED + ([] if two_decoders else DROPPED_WITH_ONE_DECODER)
        decoders = _TWO_DECODERS if two_decoders else _ONE_DECODER
        self._renamed = [*decoders, *RENAMED]

    def target(self, published: str) -> Target | None:
        """Our names for a published tensor; None if no row knows it."""
        for pattern in self._dropped:
            if _match(pattern, published):
                return Target(())
        if found := _match(SPLIT[0], published):
            return Target(tuple(_fill(ours, found) for ours in SPLIT[1]))
        for pattern, ours in self._renamed:
            if found := _match(pattern, published):
                return Target((_fill(ours, found),))
        return None

    def published_name(self, ours: str) -> tuple[str, int | None]:
        """The published name of one of our tensors, and which third of it ours is (None: all)."""
        for part, pattern in enumerate(SPLIT[1]):
            if found := _match(pattern, ours):
                return _fill(SPLIT[0], found), part
        for published, pattern in self._renamed:
            if found := _match(pattern, ours):
                return _fill(published, found), None
        raise KeyError(ours)


def _match(pattern: str, name: str) -> re.Match[str] | None:
    regex = (
        re.escape(pattern).replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\{rest\}", r"(?P<rest>.+)")
    )
    return re.fullmatch(regex, name)


def _fill(pattern: str, found: re.Match[str]) -> str:
    return pattern.format_map(found.groupdict())
