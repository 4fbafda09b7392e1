"""The plain way to the same answers, for measuring and for checking: nothing is shared.

As the reference works without flash-attn: one question at a time, token by token, over explicit
attention matrices; the picture is looked at anew for every question, SAM 2 run anew for every
[SEG], and prompted frames of a video are encoded twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.pictures import ImageLike, as_rgb
from sa2va_cli.models.sa2va.prompt_group import MAX_NEW_TOKENS, EncodedPrompt, GeneratedAnswer
from sa2va_cli.models.sa2va.questions import SeenPicture
from sa2va_cli.models.sa2va.steps import Steps
from sa2va_cli.models.sa2va.tracker import Tracker
from sa2va_cli.models.sa2va.video import VideoAnswers
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

DEFAULTS = VideoOptions()


class PlainEngine:
    """The same calls as `Sa2VA`, on the same weights: `PlainEngine(fast.steps)`."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps.as_the_reference()
        self.model = self._steps.model

    @torch.inference_mode()
    def answer_image(self, image: ImageLike, questions: Sequence[Question]) -> list[Prediction]:
        """One question after the other."""
        return [self._answer_image_question(as_rgb(image), question) for question in questions]

    def answer_images(
        self, asked: Sequence[tuple[ImageLike, Sequence[Question]]]
    ) -> list[list[Prediction]]:
        """One image after the other."""
        return [self.answer_image(image, questions) for image, questions in asked]

    @torch.inference_mode()
    def answer_video(
        self,
        frames: Iterable[ImageLike],
        questions: Sequence[Question],
        options: VideoOptions = DEFAULTS,
        num_frames: int | None = None,
    ) -> VideoAnswers:
        """One question after the other; all frames are held in memory.

        Raises UsageError for key frames that are not the first ones, and for the mode sa2va-i.
        """
        if options.key_sampling != "first" or options.mode == "sa2va-i" or self._two_decoders:
            raise UsageError(
                "The plain engine knows the published inference only.",
                hint="leave out --key-sampling and --video-mode, or use --engine fast",
            )
        pictures = [as_rgb(frame) for frame in frames]
        answers, tracks = [], []
        for question in questions:
            keys = [self._steps.views(picture) for picture in pictures[: options.key_frames]]
            seen = self._steps.see_video(keys)
            generated = self._greedy(question, seen)
            answers.append(self._answer(generated, question, seen))
            for prompt in self._steps.prompt_embeddings([generated]):
                tracks.append([*self._track(pictures, prompt[None], options.key_frames)])
        return VideoAnswers(answers, (_side_by_side(step) for step in zip(*tracks, strict=True)))

    def answer_windows(
        self,
        footage: Footage,
        questions: Sequence[Question],
        options: VideoOptions,
        naming: Naming,
        state: bytes = b"",
    ) -> Iterator[WindowLook | TrackedMasks]:
        """Raises UsageError: the reference has no windows."""
        raise UsageError(
            "The plain engine looks at a video once, and at every frame.",
            hint="leave out --window and --track-all, or use --engine fast",
        )

    @property
    def _two_decoders(self) -> bool:
        return self._steps.config.two_decoders

    def _answer_image_question(self, picture: Image.Image, question: Question) -> Prediction:
        seen = self._steps.see_image(self._steps.views(picture))
        generated = self._greedy(question, seen)
        objects = []
        for prompt in self._steps.prompt_embeddings([generated]):
            features = self._steps.features(self._steps.views(picture), video=False)
            decoded = self.model.segmenter.decode_prompts(features, prompt[None])
            tracker = Tracker(self.model.segmenter)
            tracker.condition(0, features, decoded)
            tracker.bank()  # the reference encodes the memory of a picture, too, for nobody
            objects.append(self._steps.frame_masks(0, decoded, picture.size))
        frames = (_side_by_side(objects),) if objects else ()
        return Prediction(self._answer(generated, question, seen), frames)

    def _track(
        self, pictures: list[Image.Image], prompt: Tensor, key_frames: int
    ) -> Iterator[FrameMasks]:
        segmenter = self.model.segmenter
        tracker = Tracker(segmenter)
        for frame_idx, picture in enumerate(pictures):
            features = self._steps.features(self._steps.views(picture), video=True)
            if frame_idx < key_frames:
                decoded = segmenter.decode_prompts(features, prompt)
                views = self._steps.views(picture)
                again = self._steps.features(views, video=True)  # to encode its memory
                tracker.condition(frame_idx, again, decoded)
            else:
                decoded = tracker.track_frame(frame_idx, features)
            yield self._steps.frame_masks(frame_idx, decoded, pictures[0].size)

    def _answer(self, generated: GeneratedAnswer, question: Question, seen: SeenPicture) -> Answer:
        answer = self._steps.answer(generated)
        if not question.presence:
            return answer
        prompt = self._steps.questions.encode(Question(question.presence), seen)
        language_model = self.model.language_model
        states = language_model.model(inputs_embeds=prompt.embeddings[None]).last_hidden_state[0]
        logits = language_model.lm_head(states[-1:])
        yes = YesOrNo.of(self._steps.tokenizer).probabilities(logits)
        return replace(answer, presence=yes[0])

    def _greedy(self, question: Question, seen: SeenPicture) -> GeneratedAnswer:
        """Token by token, as any greedy decoder does it."""
        prompt: EncodedPrompt = self._steps.questions.encode(question, seen)
        language_model = self.model.language_model
        cache = DynamicCache(config=language_model.config)
        inputs = prompt.embeddings[None]
        ids: list[int] = []
        seg_states, seg_probabilities, probability = [], [], 0.0
        while True:
            states = language_model.model(
                inputs_embeds=inputs, past_key_values=cache, use_cache=True
            ).last_hidden_state[0]
            if ids and ids[-1] == self._steps.tokenizer.seg_token_id:
                seg_states.append(states[-1])
                seg_probabilities.append(probability)
            (token,), (probability,) = self._steps.greedy(states[-1:], [len(ids)])
            ids.append(token)
            if self._steps.stop(ids) or len(ids) == MAX_NEW_TOKENS:
                break
            newest = torch.tensor([[token]], device=self._steps.device)
            inputs = language_model.model.embed_tokens(newest)
        width = prompt.embeddings.shape[1]
        stacked = torch.stack(seg_states) if seg_states else prompt.embeddings.new_zeros(0, width)
        return GeneratedAnswer(ids, stacked, tuple(seg_probabilities))


def _side_by_side(objects: Sequence[FrameMasks]) -> FrameMasks:
    """The objects of one frame, each from a run of its own, as one FrameMasks."""
    return FrameMasks(
        frame_idx=objects[0].frame_idx,
        masks=np.concatenate([one.masks for one in objects]),
        scores=np.concatenate([one.scores for one in objects]),
        object_scores=np.concatenate([one.object_scores for one in objects]),
    )
