"""`Sa2VA`: pictures and sentences in, text and masks out. Device and dtype are decided here."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.chat import Conversation, subject_of
from sa2va_cli.models.sa2va.checkpoint import Placement, load_model
from sa2va_cli.models.sa2va.compiler import check_compiler
from sa2va_cli.models.sa2va.config import Sa2vaConfig, load_config
from sa2va_cli.models.sa2va.device import (
    choose_attention,
    choose_device,
    choose_dtype,
    settle_arithmetic,
)
from sa2va_cli.models.sa2va.generation import Generator
from sa2va_cli.models.sa2va.groups import Drawn
from sa2va_cli.models.sa2va.hub import locate
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.model import Sa2vaModel
from sa2va_cli.models.sa2va.pictures import ImageLike
from sa2va_cli.models.sa2va.questions import NOTHING_SEEN, SeenPicture
from sa2va_cli.models.sa2va.readiness import settle_model
from sa2va_cli.models.sa2va.sight import Sight
from sa2va_cli.models.sa2va.steps import Steps
from sa2va_cli.models.sa2va.tokenizer import Ids, Tokenizer
from sa2va_cli.models.sa2va.video import MaskStream, VideoAnswers, check_rereadable, pick_key_frames
from sa2va_cli.models.sa2va.views import Views, ViewsOfAll
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


class Sa2VA:
    """A loaded model. One instance answers one call at a time."""

    def __init__(
        self,
        model: Sa2vaModel,
        tokenizer: Tokenizer,
        revision: str = "unknown",
        forced_answer: Ids = (),
    ) -> None:
        """Use `from_pretrained` to load a checkpoint; this takes the parts.

        `forced_answer` makes weights without training say something: see `greedy.Greedy`.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.revision = revision
        self.steps = Steps(model, tokenizer, forced_answer)
        self.device, self.dtype = self.steps.device, self.steps.dtype
        self.generator = Generator(
            model.reader, self.steps.greedy, self.steps.stop, tokenizer.seg_token_id
        )

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
        compile: bool = False,
    ) -> "Sa2VA":
        """Load a folder, a hub model (`ByteDance/Sa2VA-4B`) or the built-in `demo`.

        `sam2_weights`, a SAM 2.0 Hiera-L safetensors file, adds the decoder that the video mode
        sa2va-i needs to a checkpoint that lacks it. `compile` makes loading slow, the first time
        by minutes, and the fixed-shape networks faster.

        Raises CheckpointError for anything wrong with the checkpoint and UsageError for a device,
        dtype or attention that cannot be had.
        """
        chosen_device = choose_device(device)
        if compile:
            check_compiler(on_gpu=chosen_device.type == "cuda")
        settle_arithmetic(chosen_device)
        implementation = choose_attention(
            attention, chosen_device, choose_dtype(dtype, chosen_device)
        )
        source = locate(str(name_or_path), revision, local_files_only=local_files_only)
        config = load_config(source.folder)
        chosen_dtype = choose_dtype(dtype, chosen_device, config.vision.hidden_size)
        tokenizer = Tokenizer(source.folder)
        tokenizer.check_fits(config.language.vocab_size)
        placement = Placement(chosen_device, chosen_dtype, implementation)
        model = load_model(source.folder, config, placement, sam2_weights)
        settle_model(model, chosen_device, compiled=compile)
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
        generated = self.generator.generate([self.steps.questions.encode(question, NOTHING_SEEN)])
        return Prediction(Answer(self.steps.text(generated[0])))

    def prepare(self, image: ImageLike) -> Views:
        """An image as the questions take it, resized: the part of the work that needs neither the
        model nor its device. Other threads may do it while this one answers."""
        return self.steps.views(image).of_a_picture()

    @torch.inference_mode()
    def answer_image(
        self, image: ImageLike | Views, questions: Sequence[Question]
    ) -> list[Prediction]:
        """Answer several questions about one image, which both eyes see only once."""
        return self.answer_images([(image, questions)])[0]

    @torch.inference_mode()
    def answer_images(
        self, asked: Sequence[tuple[ImageLike | Views, Sequence[Question]]]
    ) -> list[list[Prediction]]:
        """Several images, each with its own questions: seen in batches, answered side by side."""
        if not asked:
            return []
        pictures = [self.steps.views(image) for image, _ in asked]
        seen, sight = self.steps.see_images(pictures), Sight(self.steps, pictures)
        said = self._ask_each(
            [(questions, one) for (_, questions), one in zip(asked, seen, strict=True)],
            sight.expect,
        )
        features = sight.of_each([place for place, (_, prompts) in enumerate(said) if len(prompts)])
        sent = [
            self._segment(views.size, next(features), answers, prompts)
            if len(prompts)
            else partial(_without_masks, answers)
            for views, (answers, prompts) in zip(pictures, said, strict=True)
        ]
        return [receive() for receive in sent]

    @torch.inference_mode()
    def answer_video(
        self,
        frames: Iterable[ImageLike],
        questions: Sequence[Question],
        options: VideoOptions | None = None,
        num_frames: int | None = None,
    ) -> VideoAnswers:
        """Answer several questions about one video; masks stream from the result.

        Frames are taken one by one, as masks are asked for (for a GPU a few ahead, by other
        threads). With uniform key frames they are iterated twice, and `num_frames` tells how many
        there are (or `len(frames)` does). Raises UsageError for a video without frames, for one
        that cannot be iterated twice where it has to be, and for a mode that the checkpoint cannot
        do.
        """
        options = self._video_options(options or VideoOptions())
        if options.key_sampling != "first":
            check_rereadable(frames)
        if num_frames is None and isinstance(frames, Sized):
            num_frames = len(frames)
        keys = pick_key_frames(ViewsOfAll(frames, self.steps.views), options, num_frames)
        answers, prompts = self._ask(questions, self.steps.see_video(keys.pictures))
        if not len(prompts):
            return VideoAnswers(answers, iter(()))
        size = keys.size
        stream = MaskStream(
            self.model.segmenter,
            lambda _, views: self.steps.features(views, video=True),
            prompts,
            consistent=options.mode == "sa2va-i",
        )
        keys = replace(keys, all_frames=self.steps.ahead(keys.all_frames))
        sent = (self.steps.send_masks(index, decoded, size) for index, decoded in stream.run(keys))
        return VideoAnswers(answers, self.steps.received(sent))

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
        eyes = Eyes(
            views=self.steps.views,
            ahead=self.steps.ahead,
            look=lambda keys: self._ask(questions, self.steps.see_video(keys)),
            encode=lambda views: self.steps.features(views, video=True),
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
            return TrackedMasks(
                drawn.obj_ids, self.steps.frame_masks(position, drawn.decoded, size)
            )
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
    ) -> Conversation:
        """A conversation about an image, a video, or neither; the picture is looked at once.

        A video is iterated again for every answer with masks: give a list, or anything that can
        be, with a length if its key frames are to be uniform. Raises UsageError for a generator,
        for both an image and a video, and for a mode that the checkpoint cannot do.
        """
        options = self._video_options(options or VideoOptions())
        return Conversation(
            self.steps, self.generator, subject_of(self.steps, image, video, options)
        )

    def _segment(
        self,
        size: tuple[int, int],
        features: FrameFeatures,
        answers: Sequence[Answer],
        prompts: Tensor,
    ) -> Callable[[], list[Prediction]]:
        """What is returned waits for the device."""
        decoded = self.model.segmenter.decode_prompts(features, prompts)
        receive = self.steps.send_masks(0, decoded, size)
        return lambda: [
            Prediction(answer, (part,) if answer.seg_probabilities else ())
            for answer, part in zip(answers, split_objects(receive(), answers), strict=True)
        ]

    def _ask(self, questions: Sequence[Question], seen: SeenPicture) -> tuple[list[Answer], Tensor]:
        """Answers, and (N, 1, C) prompts: one for each [SEG] of all answers, in order."""
        return self._ask_each([(questions, seen)])[0]

    def _ask_each(
        self,
        asked: Sequence[tuple[Sequence[Question], SeenPicture]],
        on_expected: Callable[[list[bool]], None] | None = None,
    ) -> list[tuple[list[Answer], Tensor]]:
        """The same about several pictures; `on_expected` is for `Generator.generate_each`.

        Raises UsageError for one about which nothing is asked.
        """
        if not all(questions for questions, _ in asked):
            raise UsageError("Nothing is asked about the picture.", hint="give a question")
        encode = self.steps.questions.encode
        texts = [_presence_texts(questions) for questions, _ in asked]
        encoded = [
            (
                [encode(one, seen) for one in questions],
                [encode(Question(text), seen) for text in own],
            )
            for (questions, seen), own in zip(asked, texts, strict=True)
        ]
        said = self.generator.generate_each(encoded, on_expected)
        answered = []
        for (questions, _), own, (generated, logits) in zip(asked, texts, said, strict=True):
            presence = {}
            if own:
                sure = YesOrNo.of(self.tokenizer).probabilities(logits)
                presence = dict(zip(own, sure, strict=True))
            answers = [
                replace(self.steps.answer(one), presence=presence.get(question.presence))
                for one, question in zip(generated, questions, strict=True)
            ]
            answered.append((answers, self.steps.prompt_embeddings(generated)))
        return answered


def _presence_texts(questions: Sequence[Question]) -> list[str]:
    """What is asked about presence, each once."""
    return list(dict.fromkeys(one.presence for one in questions if one.presence))


def _without_masks(answers: Sequence[Answer]) -> list[Prediction]:
    return [Prediction(answer) for answer in answers]


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


def _first_mask_prompts(
    mask_prompts: Sequence[np.ndarray] | np.ndarray | None,
) -> np.ndarray | None:
    """The reference takes a list and uses its first entry; torch tensors are fine, too."""
    if mask_prompts is None:
        return None
    bare = isinstance(mask_prompts, np.ndarray) and mask_prompts.ndim == 3
    return np.asarray(mask_prompts if bare else mask_prompts[0])
