"""From a question to token ids: chat templates, picture tokens, region lists, earlier turns."""

import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.tokenizer import Tokenizer

IMAGE = "<image>"
IMG_START, IMG_END, IMG_CONTEXT = "<img>", "</img>", "<IMG_CONTEXT>"
CONTEXT_RUN = re.compile(f"(?:{IMG_CONTEXT})+")
REGION_START, REGION_END = "<vp>", "</vp>"

CHATML = "<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"
TEMPLATE_TEXTS = {
    "qwen_chat": CHATML,
    "internlm2_chat": CHATML,
    "phi3_chat": "<|user|>\n{text}<|end|>\n<|assistant|>\n",
}
STOP_WORDS = {
    "qwen_chat": ("<|im_end|>", "<|endoftext|>"),
    "internlm2_chat": ("<|im_end|>",),
    "phi3_chat": ("<|end|>",),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """How many visual tokens the media of a question brings, and how they are spelled."""

    frames: int  # 0 no picture, 1 an image, up to 5 frames of a video
    tokens_per_frame: int
    is_video: bool = False

    @property
    def num_tokens(self) -> int:
        return self.frames * self.tokens_per_frame

    @property
    def text(self) -> str:
        """One <img>…</img> pair for an image with all its tiles, one for each video frame."""
        frame = f"{IMG_START}{IMG_CONTEXT * self.tokens_per_frame}{IMG_END}"
        return "\n".join([frame] * self.frames)


NO_PICTURE = Picture(frames=0, tokens_per_frame=0)


def prompt_text(
    template: str, picture: Picture, text: str, past_text: str, region_sizes: list[int] | None
) -> str:
    """The whole string to encode, `reference-behaviour` section 3.

    Raises UsageError where the reference would stop with an exception.
    """
    if picture.frames == 0:
        _check_plain_chat(past_text, region_sizes)
        text = text.replace(IMAGE, "")
    else:
        _check_picture_places(picture, text, past_text, region_sizes)
        regions = region_list(region_sizes) if region_sizes is not None else ""
        text = text.replace(IMAGE, picture.text + regions)
    return past_text + TEMPLATE_TEXTS[template].format_map({"text": text})


def region_list(region_sizes: list[int]) -> str:
    """The sentence that names the regions, with one context token for each visible cell."""
    names = ", ".join(
        f"region{number}{REGION_START}{IMG_CONTEXT * cells}{REGION_END}"
        for number, cells in enumerate(region_sizes, start=1)
    )
    return f"\nThere are {len(region_sizes)} part regions in the picture: {names}.\n"


def region_cells(mask_prompts: np.ndarray, grid_side: int) -> Tensor:
    """(regions, H, W) -> (regions, grid_side, grid_side) bool, by torch's nearest neighbour."""
    masks = torch.from_numpy(np.ascontiguousarray(mask_prompts)).to(torch.float32)
    if masks.ndim != 3 or masks.shape[0] == 0 or 0 in masks.shape:
        raise UsageError(
            f"Mask prompts have the shape {tuple(mask_prompts.shape)}.",
            hint="give one array (regions, height, width) with at least one region",
        )
    cells = torch.nn.functional.interpolate(masks[:, None], size=(grid_side, grid_side))
    return cells[:, 0] != 0


def encode_prompt(tokenizer: Tokenizer, text: str, num_context_tokens: int) -> list[int]:
    """Token ids of the prompt; its context tokens must be as many as there are embeddings."""
    ids = _encode(tokenizer, text)
    found = ids.count(tokenizer.context_token_id)
    if found != num_context_tokens:
        raise UsageError(
            f"The prompt has {found} {IMG_CONTEXT} tokens, but the picture has "
            f"{num_context_tokens}.",
            hint="earlier turns must spell the same picture, and no text may hold such tokens",
        )
    return ids


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """A picture's thousands of context tokens in a row go through the tokenizer as one."""
    lengths = iter([len(run[0]) // len(IMG_CONTEXT) for run in CONTEXT_RUN.finditer(text)])
    ids: list[int] = []
    for token in tokenizer.encode(CONTEXT_RUN.sub(IMG_CONTEXT, text)):
        ids += [token] * (next(lengths, 1) if token == tokenizer.context_token_id else 1)
    return ids


def _check_plain_chat(past_text: str, region_sizes: list[int] | None) -> None:
    if IMAGE in past_text:
        raise UsageError(
            f"The past text holds a literal {IMAGE}, but there is no picture.",
            hint="give the image, and spell it in past_text as the earlier turn did",
        )
    if region_sizes is not None:
        raise UsageError("Mask prompts need an image.", hint="give the image they are drawn on")


def _check_picture_places(
    picture: Picture, text: str, past_text: str, region_sizes: list[int] | None
) -> None:
    if region_sizes is not None and picture.is_video:
        raise UsageError("Mask prompts work on images, not on videos.", hint="ask about one frame")
    if region_sizes is not None and past_text:
        raise UsageError("Mask prompts need an empty past text.", hint="ask in the first turn")
    places = text.count(IMAGE)
    if past_text and places:
        raise UsageError(
            f"The text holds {IMAGE}, but the picture already stands in past_text.",
            hint=f"leave {IMAGE} out of later turns",
        )
    if not past_text and places != 1:
        raise UsageError(
            f"The text holds {IMAGE} {places} times.",
            hint=f"write it once, where the picture belongs: '{IMAGE}Please segment the cat.'",
        )
