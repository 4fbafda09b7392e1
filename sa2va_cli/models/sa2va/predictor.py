"""`Sa2VA`: pictures and sentences in, text and masks out. Device and dtype are decided here."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.checkpoint import Placement, load_model
from sa2va_cli.models.sa2va.config import Sa2vaConfig, load_config
from sa2va_cli.models.sa2va.conversation import STOP_WORDS
from sa2va_cli.models.sa2va.device import choose_attention, choose_device, choose_dtype
from sa2va_cli.models.sa2va.generation import GeneratedAnswer, Generator
from sa2va_cli.models.sa2va.groups import Drawn
from sa2va_cli.models.sa2va.hub import locate
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.model import Sa2vaModel
from sa2va_cli.models.sa2va.preprocess import (
    frame_tile,
    image_tiles,
    normalise_sam,
    sam_square,
    tile_pixels,
)
from sa2va_cli.models.sa2va.questions import (
    NOTHING_SEEN,
    QuestionEncoder,
    SeenPicture,
    see_image,
    see_video,
)
from sa2va_cli.models.sa2va.segmenter import DecodedMasks, full_size_masks
from sa2va_cli.models.sa2va.stopping import StopRule
from sa2va_cli.models.sa2va.tokenizer import Tokenizer
from sa2va_cli.models.sa2va.video import MaskStream, VideoAnswers, pick_key_frames
from sa2va_cli.models.sa2va.window_plan import plan_windows
from sa2va_cli.models.sa2va.windows import Eyes, WindowedVideo
from sa2va_cli.models.sa2va.yes_or_no import YesOrNo
from sa2va_cli.results import (
    Answer,
    Footage,
    FrameMasks,
    Naming,
    Prediction,
    Question,
    TrackedMasks,
    VideoOptions,
    WindowLook,
)

if TYPE_CHECKING:
    from sa2va_cli.models.sa2va.chat import Conversation

TILE_BATCH = 16  # tiles in one pass of the vision tower: bounds its memory

ImageLike = Image.Image | np.ndarray


class Sa2VA:
    """A loaded model. One instance answers one call at a time."""

    def __init__(self, model: Sa2vaModel, tokenizer: Tokenizer, revision: str = "unknown") -> None:
        """Use `from_pretrained` to load a checkpoint; this takes the parts."""
        self.model = model
        self.tokenizer = tokenizer
        self.revision = revision
        embed_tokens = model.language_model.get_input_embeddings()
        weight = embed_tokens.weight
        self.device, self.dtype = weight.device, weight.dtype
        self._questions = QuestionEncoder(model.config, tokenizer, embed_tokens)
        self.stop = StopRule(tokenizer, STOP_WORDS[model.config.template])
        self._generator = Generator(model.language_model, self.stop, tokenizer.seg_token_id)

    @classmethod
    def from_pretrained(  # noqa: PLR0913  the names that people's scripts use
        cls,
        name_or_path: str,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        attention: str = "auto",
        revision: str | None = None,
        local_files_only: bool = False,
        sam2_weights: Path | None = None,
    ) -> "Sa2VA":
        """Load a folder, a hub model (`ByteDance/Sa2VA-4B`) or the built-in `demo`.

        `sam2_weights`, a SAM 2.0 Hiera-L safetensors file, adds the decoder that the video mode
        sa2va-i needs to a checkpoint that lacks it.

        Raises CheckpointError for anything wrong with the checkpoint and UsageError for a device,
        dtype or attention that cannot be had.
        """
        chosen_device = choose_device(device)
        chosen_dtype = choose_dtype(dtype, chosen_device)
        implementation = choose_attention(attention, chosen_device, chosen_dtype)
        source = locate(str(name_or_path), revision, local_files_only=local_files_only)
        config = load_config(source.folder)
        tokenizer = Tokenizer(source.folder)
        placement = Placement(chosen_device, chosen_dtype, implementation)
        model = load_model(source.folder, config, placement, sam2_weights)
        return cls(model, tokenizer, source.revision)

    @property
    def config(self) -> Sa2vaConfig:
        return self.model.config

    def predict(
        self,
        image: ImageLike | None = None,
        video: Sequence[ImageLike] | None = None,
        text: str = "",
        past_text: str = "",
        mask_prompts: np.ndarray | None = None,
    ) -> Prediction:
        """Answer one question about an image, a video, or neither (plain chat, never a mask).

        `mask_prompts` is (regions, H, W). Raises UsageError if the parts do not fit together.
        """
        if image is not None and video is not None:
            raise UsageError("Both an image and a video were given.", hint="give one of them")
        question = Question(text, past_text, mask_prompts)
        if video is not None:
            answers = self.answer_video(video, [question])
            return Prediction(answers.answers[0], tuple(answers))
        if image is not None:
            return self.answer_image(image, [question])[0]
        return self.answer_text(question)

    def predict_forward(  # noqa: PLR0913  the reference's own signature
        self,
        image: ImageLike | None = None,
        video: Sequence[ImageLike] | None = None,
        text: str = "",
        past_text: str = "",
        mask_prompts: Sequence[np.ndarray] | np.ndarray | None = None,
        tokenizer: object = None,
        processor: object = None,
    ) -> dict[str, Any]:
        """Drop-in for the reference's method: the same arguments and the same dictionary.

        `prediction` is the text with special tokens; `prediction_masks` has one bool array
        (frames, H, W) for each [SEG]. `mask_prompts` comes wrapped in a list of length one, as
        there; a tokenizer or processor is accepted and not needed. A video wins over an image.
        """
        del tokenizer, processor
        image = None if video is not None else image
        prediction = self.predict(image, video, text, past_text, _first_mask_prompts(mask_prompts))
        count = len(prediction.answer.seg_probabilities)
        return {
            "prediction": prediction.text,
            "prediction_masks": [prediction.object_masks(index) for index in range(count)],
        }

    @torch.inference_mode()
    def answer_text(self, question: Question) -> Prediction:
        """Plain chat."""
        generated = self._generator.generate([self._questions.encode(question, NOTHING_SEEN)])
        return Prediction(Answer(self._text(generated[0])))

    @torch.inference_mode()
    def answer_image(self, image: ImageLike, questions: Sequence[Question]) -> list[Prediction]:
        """Answer several questions about one image, which both eyes see only once."""
        picture = as_rgb(image)
        vision = self.config.vision
        tiles = image_tiles(picture, vision.image_size, self.config.max_tiles)
        answers, prompts = self._ask(questions, see_image(self._tile_tokens(tiles)))
        if not len(prompts):
            return [Prediction(answer) for answer in answers]
        decoded = self.model.segmenter.decode_prompts(self._features(picture, video=False), prompts)
        frame = self._frame_masks(0, decoded, picture.size)
        return [
            Prediction(answer, (part,) if answer.seg_probabilities else ())
            for answer, part in zip(answers, split_objects(frame, answers), strict=True)
        ]

    @torch.inference_mode()
    def answer_video(
        self,
        frames: Iterable[ImageLike],
        questions: Sequence[Question],
        options: VideoOptions | None = None,
        num_frames: int | None = None,
    ) -> VideoAnswers:
        """Answer several questions about one video; masks stream from the result.

        Frames are taken one by one, as masks are asked for. With uniform key frames they are
        iterated twice, and `num_frames` tells how many there are (or `len(frames)` does). Raises
        UsageError for a video without frames, and for a mode that the checkpoint cannot do.
        """
        options = self._video_options(options or VideoOptions())
        if num_frames is None and isinstance(frames, Sized):
            num_frames = len(frames)
        keys = pick_key_frames(Pictures(frames), options, num_frames)
        side = self.config.vision.image_size
        tokens = self._tile_tokens([frame_tile(picture, side) for picture in keys.pictures])
        answers, prompts = self._ask(questions, see_video(tokens))
        if not len(prompts):
            return VideoAnswers(answers, iter(()))
        size = keys.size
        stream = MaskStream(
            self.model.segmenter,
            lambda _, picture: self._features(picture, video=True),
            prompts,
            consistent=options.mode == "sa2va-i",
        )
        masks = (self._frame_masks(index, decoded, size) for index, decoded in stream.run(keys))
        return VideoAnswers(answers, masks)

    def answer_windows(
        self,
        footage: Footage,
        questions: Sequence[Question],
        options: VideoOptions,
        naming: Naming,
        state: bytes = b"",
    ) -> Iterator[WindowLook | TrackedMasks]:
        """Answer several questions anew at each window of a video of any length.

        Yields each window's answers, then its frames. `naming` tells objects that were lost and
        found again from others; `state` is that of the window to begin with, empty for the first.
        Raises UsageError for windows that cannot be, and for a mode that the checkpoint cannot do.
        """
        options = self._video_options(options)
        windows = plan_windows(footage.sampled, len(footage), options)
        side = self.config.vision.image_size

        def look(pictures: list[Image.Image]) -> tuple[list[Answer], Tensor]:
            tokens = self._tile_tokens([frame_tile(picture, side) for picture in pictures])
            return self._ask(questions, see_video(tokens))

        eyes = Eyes(
            look=look,
            encode=lambda picture: self._features(picture, video=True),
            finish=self._tracked_masks,
            segmenter=self.model.segmenter,
            consistent=options.mode == "sa2va-i",
            naming=naming,
        )
        return WindowedVideo(eyes, footage, windows, state).run()

    def _tracked_masks(
        self, drawn: Drawn | None, position: int, size: tuple[int, int]
    ) -> TrackedMasks:
        if drawn is not None:
            return TrackedMasks(drawn.obj_ids, self._frame_masks(position, drawn.decoded, size))
        nothing, none = np.zeros((0, size[1], size[0]), bool), np.zeros(0, np.float32)
        return TrackedMasks((), FrameMasks(position, nothing, none, none))

    def _video_options(self, options: VideoOptions) -> VideoOptions:
        """The options with "auto" decided, and what follows from the mode."""
        consistent = (
            self.config.two_decoders if options.mode == "auto" else options.mode == "sa2va-i"
        )
        if consistent and not self.config.two_decoders:
            raise UsageError(
                "This checkpoint cannot run --video-mode sa2va-i: it has one mask decoder.",
                hint="use a Sa2VA-i checkpoint, or give the original SAM 2 weights with "
                "--sam2-weights",
            )
        if consistent:  # its key frames are always spread over the clip
            return replace(options, mode="sa2va-i", key_sampling="uniform")
        return replace(options, mode="sa2va")

    def chat(
        self,
        image: ImageLike | None = None,
        video: Iterable[ImageLike] | None = None,
        options: VideoOptions | None = None,
    ) -> "Conversation":
        """A conversation about an image, a video, or neither; the picture is looked at once.

        A video is iterated again for every answer with masks: give a list, or anything that can
        be, with a length if its key frames are to be uniform. Raises UsageError for a generator,
        for both an image and a video, and for a mode that the checkpoint cannot do.
        """
        from sa2va_cli.models.sa2va.chat import start  # it builds on this class

        return start(self, image, video, self._video_options(options or VideoOptions()))

    def _ask(self, questions: Sequence[Question], seen: SeenPicture) -> tuple[list[Answer], Tensor]:
        """Answers, and (N, 1, C) prompts: one for each [SEG] of all answers, in order."""
        prompts = [self._questions.encode(question, seen) for question in questions]
        texts = list(dict.fromkeys(q.presence for q in questions if q.presence))
        if not texts:
            generated, presence = self._generator.generate(prompts), {}
        else:
            asides = [self._questions.encode(Question(text), seen) for text in texts]
            yes_or_no = YesOrNo.of(self.tokenizer)
            generated, logits = self._generator.generate_with_asides(prompts, asides)
            presence = dict(zip(texts, yes_or_no.probabilities(logits), strict=True))
        answers = [
            replace(self._answer(one), presence=presence.get(question.presence))
            for one, question in zip(generated, questions, strict=True)
        ]
        return answers, self._prompt_embeddings(generated)

    def _text(self, generated: GeneratedAnswer) -> str:
        return self.tokenizer.decode(generated.ids).strip()

    def _answer(self, generated: GeneratedAnswer) -> Answer:
        return Answer(self._text(generated), generated.seg_probabilities)

    def _prompt_embeddings(self, generated: list[GeneratedAnswer]) -> Tensor:
        """(N, 1, C): one for each [SEG] of all answers, in order."""
        states = torch.cat([one.seg_states for one in generated])
        return self.model.seg_bridge(states.float())  # the bridge is kept in float32

    def _tile_tokens(self, tiles: list[Image.Image]) -> Tensor:
        """(tiles, tokens_per_tile, D)."""
        pixel_values = tile_pixels(tiles).to(self.device, self.model.vision_encoder.dtype)
        return torch.cat(
            [self.model.visual_tokens(part) for part in pixel_values.split(TILE_BATCH)]
        )

    def _features(self, picture: Image.Image, *, video: bool) -> FrameFeatures:
        square = sam_square(picture, self.config.segmenter.image_size)[None].to(self.device)
        return self.model.segmenter.encode(normalise_sam(square, self.dtype, video=video))

    def _frame_masks(
        self, frame_idx: int, decoded: DecodedMasks, size: tuple[int, int]
    ) -> FrameMasks:
        width, height = size
        masks = full_size_masks(
            decoded.mask_logits, self.config.segmenter.image_size, height, width
        )
        return FrameMasks(
            frame_idx=frame_idx,
            masks=masks.cpu().numpy(),
            scores=decoded.scores.cpu().numpy(),
            object_scores=decoded.object_logits.sigmoid().cpu().numpy(),
        )


class Pictures:
    """Frames of any kind as RGB pictures, as often as the frames themselves can be iterated."""

    def __init__(self, frames: Iterable[ImageLike]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Image.Image]:
        return (as_rgb(frame) for frame in self._frames)


def split_objects(frame: FrameMasks, answers: Sequence[Answer]) -> list[FrameMasks]:
    """The masks of one frame, dealt out to the answers that their [SEG] stand in."""
    parts, start = [], 0
    for answer in answers:
        own = slice(start, start + len(answer.seg_probabilities))
        start = own.stop
        parts.append(
            FrameMasks(
                frame.frame_idx, frame.masks[own], frame.scores[own], frame.object_scores[own]
            )
        )
    return parts


def as_rgb(image: ImageLike) -> Image.Image:
    """A PIL picture or an array (H, W, 3) or (H, W) of uint8, as RGB."""
    if isinstance(image, Image.Image):
        return image if image.mode == "RGB" else image.convert("RGB")
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
        return Image.fromarray(image).convert("RGB")
    raise UsageError(
        f"A picture of type {type(image).__name__} cannot be read.",
        hint="give a PIL image or a uint8 array (height, width, 3) in RGB order",
    )


def _first_mask_prompts(
    mask_prompts: Sequence[np.ndarray] | np.ndarray | None,
) -> np.ndarray | None:
    """The reference takes a list and uses its first entry; torch tensors are fine, too."""
    if mask_prompts is None:
        return None
    bare = isinstance(mask_prompts, np.ndarray) and mask_prompts.ndim == 3
    return np.asarray(mask_prompts if bare else mask_prompts[0])
