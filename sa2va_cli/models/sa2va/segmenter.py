"""SAM 2's image part, prompted by language: features and prompt embeddings in, masks out."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.sam2.configuration_sam2 import (
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
)
from transformers.models.sam2.modeling_sam2 import (
    Sam2FeedForward,
    Sam2MaskDecoder,
    Sam2MaskEmbedding,
)

from sa2va_cli.models.sa2va.config import SegmenterConfig
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures, ImageEncoder
from sa2va_cli.models.sa2va.memory import MemoryAttention, build_memory_encoder
from sa2va_cli.models.sa2va.pointwise import make_pointwise

NUM_MEMORIES = 7  # one slot for prompted frames, six for the frames just before
RESIZED_PIXELS = 2**25  # float32 logits in full size at one time: 128 MB
NO_OBJECT = -1024.0  # logit of every pixel where SAM 2 says that the object is absent


@dataclass(frozen=True, slots=True)
class DecodedMasks:
    """What the mask decoder says about N objects, each in its frame."""

    mask_logits: Tensor  # (N, side, side) float32: the best of three masks
    scores: Tensor  # (N,) float32: predicted IoU of that mask
    object_logits: Tensor  # (N,) float32: is the object in the frame?
    pointers: Tensor  # (N, C): the object's token, for memory


class PromptTokens(nn.Module):
    """What SAM 2's prompt encoder says when nobody clicks: all that Sa2VA uses of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.not_a_point = nn.Parameter(torch.zeros(1, width))
        self.no_mask = nn.Parameter(torch.zeros(1, width))
        self.register_buffer("position_matrix", torch.zeros(2, width // 2))
        self.position_matrix: Tensor
        self.register_buffer("kept_positions", None, persistent=False)
        self.kept_positions: Tensor | None

    def keep_positions(self, side: int) -> None:
        """Compute them once, for `side` x `side` cells of weights that do not change any more."""
        with torch.no_grad():
            self.kept_positions = self._positions((side, side))

    def empty(self, num_objects: int) -> Tensor:
        """(N, 2, C): no point given, twice; the second pads for the box that is not given."""
        return self.not_a_point.expand(num_objects, 2, -1)

    def image_positions(self, coarse: Tensor) -> Tensor:
        """(B, C, h, w): Fourier features of the cell centres, in the stored matrix's dtype."""
        kept, size = self.kept_positions, coarse.shape[-2:]
        positions = self._positions(size) if kept is None or kept.shape[-2:] != size else kept
        return positions.to(coarse.dtype).expand(len(coarse), -1, -1, -1)

    def _positions(self, size: tuple[int, ...]) -> Tensor:
        """(1, C, h, w)"""
        height, width = size
        matrix = self.position_matrix
        rows = (torch.arange(height, device=matrix.device, dtype=matrix.dtype) + 0.5) / height
        columns = (torch.arange(width, device=matrix.device, dtype=matrix.dtype) + 0.5) / width
        centres = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
        angles = 2 * torch.pi * ((2 * centres - 1) @ matrix)  # (h, w, C / 2)
        return torch.cat((angles.sin(), angles.cos()), dim=-1).permute(2, 0, 1)[None]


class Segmenter(nn.Module):
    """SAM 2.0 with a third sparse prompt token: the language embedding.

    Frames that get a language prompt go through `decode_prompts`, frames whose features have gone
    through memory attention through `decode_tracked`. A plain checkpoint has one decoder for both;
    a Sa2VA-i checkpoint keeps the original SAM 2 decoder for tracking, and for masks as prompts.
    """

    def __init__(self, config: SegmenterConfig, *, two_decoders: bool) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.image_encoder = ImageEncoder(config)
        self.prompt_tokens = PromptTokens(width)
        self.mask_decoder = Sam2MaskDecoder(mask_decoder_config(config))
        self.tracking_decoder: Sam2MaskDecoder | None = None
        self.mask_prompt: MaskPrompt | None = None
        if two_decoders:
            self.tracking_decoder = Sam2MaskDecoder(mask_decoder_config(config))
            self.mask_prompt = MaskPrompt(config)
        self.memory_attention = MemoryAttention(config)
        self.memory_encoder = build_memory_encoder(config)
        self.pointer_projection = Sam2FeedForward(width, width, width, num_layers=3)
        self.no_memory_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.no_object_pointer = nn.Parameter(torch.zeros(1, width))
        self.memory_time_embedding = nn.Parameter(
            torch.zeros(NUM_MEMORIES, 1, 1, config.memory_size)
        )
        make_pointwise(self)

    def settle(self) -> None:
        """Compute the same faster; to be called when the weights are there and stay as they are."""
        self.image_encoder.keep_positions()
        self.prompt_tokens.keep_positions(self.config.feature_side)
        memory = self.memory_time_embedding
        on_processor = memory.device.type == "cpu"
        self.memory_attention.averages_first = on_processor and memory.dtype == torch.float32

    def fixed_networks(self) -> list[nn.Module]:
        """Those whose inputs have few different shapes."""
        networks: list[nn.Module] = [self.image_encoder, self.mask_decoder, self.memory_encoder]
        return networks if self.tracking_decoder is None else [*networks, self.tracking_decoder]

    def encode(self, sam_pixel_values: Tensor) -> FrameFeatures:
        """(T, 3, size, size) -> the feature pyramid of T frames."""
        return self.image_encoder(sam_pixel_values)

    def decode_prompts(self, features: FrameFeatures, prompt_embeddings: Tensor) -> DecodedMasks:
        """Features of one frame and (N, 1, C) prompts -> masks of N objects in that frame."""
        empty = self.prompt_tokens.empty(len(prompt_embeddings))
        sparse = torch.cat((empty, prompt_embeddings), dim=1)[None]  # (1, N, 3, C)
        coarse = features.coarse + self.no_memory_embedding.view(1, -1, 1, 1)
        return self._best_of_three(self.mask_decoder, coarse, features, sparse)

    def decode_tracked(
        self, coarse: Tensor, features: FrameFeatures, *, original: bool
    ) -> DecodedMasks:
        """(N, C, h, w) conditioned on each object's memory, and the frame's fine levels.

        `original` takes the second decoder, with SAM 2's own rule for absent objects.
        """
        sparse = self.prompt_tokens.empty(len(coarse))[:, None]  # (N, 1, 2, C)
        if not original:
            return self._best_of_three(self.mask_decoder, coarse, features, sparse)
        decoded = self._best_of_three(self._original_decoder, coarse, features, sparse)
        absent = decoded.object_logits[:, None, None] <= 0
        return replace(decoded, mask_logits=decoded.mask_logits.masked_fill(absent, NO_OBJECT))

    def mask_pointers(self, masks: Tensor, features: FrameFeatures) -> Tensor:
        """(N, size, size) bool masks given for a frame -> (N, C) object pointers.

        The original decoder reads each mask as its dense prompt; of its answer only the pointer of
        the single-mask token is used.
        """
        assert self.mask_prompt is not None
        dense = self.mask_prompt(masks[:, None].float())
        sparse = self.prompt_tokens.empty(len(masks))[:, None]
        _, _, tokens, object_logits = self._run(
            self._original_decoder, features.coarse, features, sparse, dense, multimask=False
        )
        pointers = self.pointer_projection(tokens[:, 0, 0])
        there = (object_logits.flatten() > 0) & masks.flatten(1).any(dim=1)
        return torch.where(there[:, None], pointers, self.no_object_pointer)

    @property
    def _original_decoder(self) -> Sam2MaskDecoder:
        assert self.tracking_decoder is not None, "the predictor checks that there are two"
        return self.tracking_decoder

    def _best_of_three(
        self, decoder: Sam2MaskDecoder, coarse: Tensor, features: FrameFeatures, sparse: Tensor
    ) -> DecodedMasks:
        no_mask = self.prompt_tokens.no_mask.view(1, -1, 1, 1)
        masks, ious, tokens, object_logits = self._run(
            decoder, coarse, features, sparse, no_mask, multimask=True
        )
        best = ious.flatten(0, 1).argmax(dim=1)  # (N,)
        each = torch.arange(len(best), device=best.device)
        object_logits = object_logits.flatten().float()
        pointers = self.pointer_projection(tokens.flatten(0, 1)[each, best])
        # Absent: the pointer says so, but the mask stays as it is (unlike the original SAM 2).
        pointers = torch.where(object_logits[:, None] > 0, pointers, self.no_object_pointer)
        return DecodedMasks(
            mask_logits=masks.flatten(0, 1)[each, best].float(),
            scores=ious.flatten(0, 1)[each, best].float(),
            object_logits=object_logits,
            pointers=pointers,
        )

    def _run(  # noqa: PLR0913  what a mask decoder takes
        self,
        decoder: Sam2MaskDecoder,
        coarse: Tensor,
        features: FrameFeatures,
        sparse: Tensor,
        dense: Tensor,
        *,
        multimask: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Masks (B, P, M, side, side), IoUs (B, P, M), tokens (B, P, M, C), object logits.

        B pictures with P objects each: one frame with all objects (1, N), or each object with
        features of its own (N, 1). The decoder is float32, see `checkpoint.PRECISE_PARTS`.
        """
        batch = len(sparse)
        coarse = coarse.float().expand(batch, -1, -1, -1)
        middle = decoder.conv_s1(features.middle.float()).expand(batch, -1, -1, -1)
        fine = decoder.conv_s0(features.fine.float()).expand(batch, -1, -1, -1)
        return decoder(
            image_embeddings=coarse,
            image_positional_embeddings=self.prompt_tokens.image_positions(coarse),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=[fine, middle],
        )


class MaskPrompt(nn.Module):
    """A mask as a dense prompt: (N, 1, size, size) of 0 and 1 -> (N, C, h, w)."""

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.network = Sam2MaskEmbedding(Sam2PromptEncoderConfig(hidden_size=config.hidden_size))

    def forward(self, masks: Tensor) -> Tensor:
        return self.network(self.downsample(masks))


def mask_decoder_config(config: SegmenterConfig) -> Sam2MaskDecoderConfig:
    return Sam2MaskDecoderConfig(
        hidden_size=config.hidden_size,
        mlp_dim=config.decoder_mlp,
        iou_head_hidden_dim=config.iou_head_hidden,
        attn_implementation="sdpa",
    )


def full_size_masks(
    mask_logits: Tensor, image_size: int, height: int, width: int
) -> Iterator[Tensor]:
    """(N, side, side) logits -> (n, H, W) bool: two bilinear steps, as the reference takes them.

    The threshold is sigmoid(x) > 0.5 in float32, which is not exactly x > 0. A few objects at a
    time: many objects in a large photo would take gigabytes before they are bits.
    """
    at_once = max(1, RESIZED_PIXELS // (height * width))
    for part in mask_logits.split(at_once):
        yield _full_size(part, image_size, height, width)


def _full_size(mask_logits: Tensor, image_size: int, height: int, width: int) -> Tensor:
    square = upscale_logits(mask_logits, image_size)
    resized = F.interpolate(square[:, None], size=(height, width), mode="bilinear")[:, 0]
    return resized.sigmoid_() > 0.5  # in place: at full size memory takes longer than numbers


def upscale_logits(mask_logits: Tensor, image_size: int) -> Tensor:
    """(N, side, side) -> (N, image_size, image_size) float32."""
    logits = mask_logits[:, None].float()
    return F.interpolate(logits, size=(image_size, image_size), mode="bilinear")[:, 0]
