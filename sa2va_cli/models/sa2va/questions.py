"""Questions become prompts of embeddings: text, with the picture's tokens in their places."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.config import Sa2vaConfig
from sa2va_cli.models.sa2va.conversation import (
    NO_PICTURE,
    Picture,
    encode_prompt,
    prompt_text,
    region_cells,
)
from sa2va_cli.models.sa2va.device import to_device
from sa2va_cli.models.sa2va.prompt_group import EncodedPrompt
from sa2va_cli.models.sa2va.tokenizer import Tokenizer
from sa2va_cli.results import Question


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """An image or the first frames of a video, as the language model sees it."""

    picture: Picture
    tokens: Tensor | None  # (frames * tokens_per_frame, D)


NOTHING_SEEN = SeenPicture(NO_PICTURE, None)


def see_image(tile_tokens: Tensor) -> SeenPicture:
    """(tiles, tokens_per_tile, D), the thumbnail last."""
    tiles, per_tile, _ = tile_tokens.shape
    picture = Picture(frames=1, tokens_per_frame=tiles * per_tile)
    return SeenPicture(picture, tile_tokens.flatten(0, 1))


def see_video(frame_tokens: Tensor) -> SeenPicture:
    """(frames, tokens_per_tile, D): one tile a frame."""
    frames, per_frame, _ = frame_tokens.shape
    picture = Picture(frames=frames, tokens_per_frame=per_frame, is_video=True)
    return SeenPicture(picture, frame_tokens.flatten(0, 1))


class QuestionEncoder:
    """Builds what the language model reads; `reference-behaviour` section 3."""

    def __init__(self, config: Sa2vaConfig, tokenizer: Tokenizer, embed_tokens: nn.Module) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._embed_tokens = embed_tokens

    def encode(self, question: Question, seen: SeenPicture) -> EncodedPrompt:
        """Raises UsageError if picture and text do not fit together, or not into the model."""
        cells = self._cells(question.mask_prompts)
        return self._encode(self._spell(question, seen, cells), seen, cells)

    def spell(self, question: Question, seen: SeenPicture) -> str:
        """The whole string that is encoded, earlier turns included."""
        return self._spell(question, seen, self._cells(question.mask_prompts))

    def encode_text(
        self, text: str, seen: SeenPicture, mask_prompts: np.ndarray | None
    ) -> EncodedPrompt:
        """A string as `spell` gives it; the regions may have come in an earlier turn."""
        return self._encode(text, seen, self._cells(mask_prompts))

    def _spell(self, question: Question, seen: SeenPicture, cells: Tensor | None) -> str:
        sizes = None if cells is None else _sizes(cells)
        return prompt_text(
            self._config.template, seen.picture, question.text, question.past_text, sizes
        )

    def _encode(self, text: str, seen: SeenPicture, cells: Tensor | None) -> EncodedPrompt:
        num_region_tokens = 0 if cells is None else sum(_sizes(cells))
        num_context = seen.picture.num_tokens + num_region_tokens
        ids = encode_prompt(self._tokenizer, text, num_context)
        self._check_length(len(ids), num_context)
        pictured = [i for i, token in enumerate(ids) if token == self._tokenizer.context_token_id]
        embeddings = self._embed(ids, pictured, seen, cells)
        num_visual = seen.picture.num_tokens
        picture_end = pictured[num_visual - 1] + 1 if num_visual else 0
        # Behind the picture, cells of regions look alike as tokens, but are not.
        shareable = len(ids) if cells is None else picture_end
        return EncodedPrompt(ids, embeddings, shareable, picture_end)

    def _check_length(self, num_tokens: int, num_context: int) -> None:
        """Behind its last position a language model answers, but with nonsense."""
        limit = self._config.language.context_length
        if limit is not None and num_tokens > limit:
            raise UsageError(
                f"The question has {num_tokens} tokens, {num_context} of them the picture's; this "
                f"model reads {limit} at most.",
                hint="shorten it; in a chat, begin anew with /reset",
            )

    def _cells(self, mask_prompts: np.ndarray | None) -> Tensor | None:
        """(regions, side, side) bool."""
        if mask_prompts is None:
            return None
        return region_cells(mask_prompts, self._config.vision.grid_side)

    def _embed(
        self, ids: list[int], pictured: list[int], seen: SeenPicture, cells: Tensor | None
    ) -> Tensor:
        """(T, D); `pictured` are the places of visual tokens."""
        device = next(self._embed_tokens.parameters()).device
        embeddings = self._embed_tokens(to_device(torch.tensor(ids), device))
        if seen.tokens is None:
            return embeddings
        visual = [seen.tokens]
        if cells is not None:
            last_tile = seen.tokens[-self._config.vision.tokens_per_tile :]
            # By numbers: a GPU that is given truth values is waited for, to tell how many are true.
            visual += [
                last_tile[to_device(region.flatten().nonzero()[:, 0], device)] for region in cells
            ]
        places = to_device(torch.tensor(pictured), device)
        embeddings[places] = torch.cat(visual).to(embeddings.dtype)
        return embeddings


def _sizes(cells: Tensor) -> list[int]:
    """How many cells each region has."""
    return [int(region.sum()) for region in cells]
