"""The steps from pixels to masks, each by itself: what the engines and conversations share."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from sa2va_cli.models.sa2va.arriving import Arrival, SentMasks, send
from sa2va_cli.models.sa2va.checkpoint import with_attention
from sa2va_cli.models.sa2va.config import Sa2vaConfig
from sa2va_cli.models.sa2va.conversation import STOP_WORDS
from sa2va_cli.models.sa2va.device import to_device
from sa2va_cli.models.sa2va.greedy import Greedy
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.model import Sa2vaModel
from sa2va_cli.models.sa2va.numbers import check_numbers
from sa2va_cli.models.sa2va.pictures import ImageLike, as_rgb
from sa2va_cli.models.sa2va.preprocess import normalise_sam, normalise_tiles
from sa2va_cli.models.sa2va.prompt_group import GeneratedAnswer
from sa2va_cli.models.sa2va.questions import QuestionEncoder, SeenPicture, see_image, see_video
from sa2va_cli.models.sa2va.segmenter import DecodedMasks, full_size_masks
from sa2va_cli.models.sa2va.stopping import StopRule
from sa2va_cli.models.sa2va.tokenizer import Ids, Tokenizer
from sa2va_cli.models.sa2va.views import Placed, Views
from sa2va_cli.prefetch import prefetch_made
from sa2va_cli.results import Answer, FrameMasks

TILE_BATCH = 16  # tiles in one pass of the vision tower: bounds its memory
FRAME_BATCH = 4  # images in one pass of SAM 2's encoder
FRAMES_AHEAD = 4  # of a video, resized before the model wants them


class Steps:
    """A model and its tokenizer. Nothing is remembered between calls."""

    def __init__(
        self,
        model: Sa2vaModel,
        tokenizer: Tokenizer,
        forced_answer: Ids = (),
        *,
        as_reference: bool = False,
    ) -> None:
        """`forced_answer`: see Greedy. `as_reference`: nothing is done beside anything else."""
        self.model = model
        self.tokenizer = tokenizer
        embed_tokens = model.language_model.get_input_embeddings()
        self.device, self.dtype = embed_tokens.weight.device, embed_tokens.weight.dtype
        # On a processor more tiles at a time are not faster, and take memory that is to be cleared.
        one_by_one = self.device.type == "cpu" and not as_reference
        self._tiles_at_once = 1 if one_by_one else TILE_BATCH
        self.questions = QuestionEncoder(model.config, tokenizer, embed_tokens)
        self.stop = StopRule(tokenizer, STOP_WORDS[model.config.template])
        self.greedy = Greedy(model.language_model.lm_head, forced_answer)
        self._pool: Executor | None = None
        if self.device.type != "cpu" and torch.get_num_threads() > 1 and not as_reference:
            # A GPU that waits for pixels has all cores at work.
            self._pool = ThreadPoolExecutor(torch.get_num_threads(), "resize")

    @property
    def config(self) -> Sa2vaConfig:
        return self.model.config

    def as_the_reference(self) -> "Steps":
        """The same weights, not copied, behind explicit attention matrices, all tiles at once."""
        twin = with_attention(self.model, "eager")
        return Steps(twin, self.tokenizer, self.greedy.forced, as_reference=True)

    def views(self, picture: ImageLike | Views) -> Views:
        """What the eyes get of a picture; one that is prepared already stays as it is."""
        return picture if isinstance(picture, Views) else Views(as_rgb(picture), self.config)

    def ahead(self, frames: Iterator[Placed]) -> Iterator[Placed]:
        """The same, resized for SAM 2 by threads that a GPU would otherwise wait for."""
        if self.device.type == "cpu":
            return frames
        threads = min(FRAMES_AHEAD, torch.get_num_threads())
        return prefetch_made(frames, _of_a_frame, FRAMES_AHEAD, threads)

    def see_image(self, views: Views) -> SeenPicture:
        """An image as the language model gets it."""
        self._begin_squares([views])
        return see_image(self._tile_tokens(views.tiles))

    def see_images(self, pictures: Sequence[Views]) -> list[SeenPicture]:
        """Several images, whose tiles share the passes of the vision tower."""
        tiles = self._of_each(lambda views: views.tiles, pictures)
        self._begin_squares(pictures)
        tokens = self._tile_tokens(torch.cat(tiles) if len(tiles) > 1 else tiles[0])
        return [see_image(own) for own in tokens.split([len(own) for own in tiles])]

    def see_video(self, key_frames: Sequence[Views]) -> SeenPicture:
        """The key frames of a video as the language model gets them."""
        tiles = self._of_each(lambda views: views.frame_tile, key_frames)
        self._begin_squares(key_frames)
        return see_video(self._tile_tokens(torch.cat(tiles)))

    def features(self, views: Views, *, video: bool) -> FrameFeatures:
        """SAM 2's view of one frame."""
        square = to_device(views.square, self.device)
        return self.model.segmenter.encode(normalise_sam(square, self.dtype, video=video))

    def features_of_each(self, pictures: Sequence[Views]) -> Iterator[FrameFeatures]:
        """SAM 2's view of several images, encoded a few at a time."""
        squares = self._of_each(lambda views: views.square, pictures)
        for first in range(0, len(squares), FRAME_BATCH):
            few = squares[first : first + FRAME_BATCH]
            part = torch.cat(few) if len(few) > 1 else few[0]  # as `features` has it: --compile
            values = normalise_sam(to_device(part, self.device), self.dtype, video=False)
            features = self.model.segmenter.encode(values)
            for index in range(len(part)):
                own = slice(index, index + 1)
                yield FrameFeatures(features.coarse[own], features.middle[own], features.fine[own])

    def text(self, generated: GeneratedAnswer) -> str:
        return self.tokenizer.decode(generated.ids).strip()

    def answer(self, generated: GeneratedAnswer) -> Answer:
        return Answer(self.text(generated), generated.seg_probabilities)

    def prompt_embeddings(self, generated: list[GeneratedAnswer]) -> Tensor:
        """(N, 1, C): one for each [SEG] of all answers, in order."""
        states = torch.cat([one.seg_states for one in generated])
        return self.model.seg_bridge(states.float())  # the bridge is kept in float32

    def frame_masks(
        self, frame_idx: int, decoded: DecodedMasks, size: tuple[int, int]
    ) -> FrameMasks:
        """Decoded masks at the picture's `size` (width, height), in host memory.

        Raises CheckpointError where their scores are no numbers.
        """
        return self.send_masks(frame_idx, decoded, size)()

    def send_masks(
        self, frame_idx: int, decoded: DecodedMasks, size: tuple[int, int]
    ) -> Callable[[], FrameMasks]:
        """The same, without waiting for the device: what is returned waits."""
        width, height = size
        parts = full_size_masks(
            decoded.mask_logits, self.config.segmenter.image_size, height, width
        )
        masks = [SentMasks(part) for part in parts]
        scores, object_scores = send(decoded.scores), send(decoded.object_logits.sigmoid())
        arrival = Arrival(self.device)

        def receive() -> FrameMasks:
            arrival.wait()
            bits = [part.numpy() for part in masks]
            frame = FrameMasks(
                frame_idx=frame_idx,
                masks=bits[0] if len(bits) == 1 else np.concatenate(bits),
                scores=scores.numpy(),
                object_scores=object_scores.numpy(),
            )
            check_numbers(chain(frame.scores.tolist(), frame.object_scores.tolist()), "masks")
            return frame

        return receive

    def received(self, sent: Iterable[Callable[[], FrameMasks]]) -> Iterator[FrameMasks]:
        """Each frame's masks; those of a GPU when it has the next frame to work on."""
        waiting: deque[Callable[[], FrameMasks]] = deque()
        for receive in sent:
            waiting.append(receive)
            if self.device.type == "cpu" or len(waiting) > 1:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()

    def _of_each(self, make: Callable[[Views], Tensor], pictures: Sequence[Views]) -> list[Tensor]:
        """What is made of each picture, in order; a GPU that waits for it has all cores at work."""
        if self._pool is None or len(pictures) < 2:
            return [make(views) for views in pictures]
        return list(self._pool.map(make, pictures))

    def _begin_squares(self, pictures: Sequence[Views]) -> None:
        """What SAM 2 is to see, while a GPU is busy with what comes before that."""
        if self._pool is not None:
            for views in pictures:
                views.make_square_in(self._pool)

    def _tile_tokens(self, tiles: Tensor) -> Tensor:
        """(tiles, 3, side, side) uint8 -> (tiles, tokens_per_tile, D)."""
        squares, seen = to_device(tiles, self.device), self.model.vision_encoder.dtype
        return torch.cat(
            [
                self.model.visual_tokens(normalise_tiles(part).to(seen))
                for part in squares.split(self._tiles_at_once)
            ]
        )


def _of_a_frame(placed: Placed) -> Placed:
    placed[1].of_a_frame()
    return placed
