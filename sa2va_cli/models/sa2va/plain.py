"""The plain way to the same answers, for measuring and for checking: nothing is shared.

Like the reference, one question at a time and token by token, with the picture looked at anew for
every question and SAM 2 run anew for every [SEG]; prompted frames of a video are encoded twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

from sa2va_cli.models.sa2va.generation import MAX_NEW_TOKENS, EncodedPrompt, GeneratedAnswer
from sa2va_cli.models.sa2va.predictor import ImageLike, Sa2VA, as_rgb
from sa2va_cli.models.sa2va.preprocess import frame_tile, image_tiles
from sa2va_cli.models.sa2va.questions import SeenPicture, see_image, see_video
from sa2va_cli.models.sa2va.tracker import Tracker
from sa2va_cli.models.sa2va.video import VideoAnswers
from sa2va_cli.results import Answer, FrameMasks, Prediction, Question

PROMPTED_FRAMES = 5


@dataclass(frozen=True, slots=True)
class PlainEngine:
    """The same calls as `Sa2VA`, on the same weights."""

    fast: Sa2VA

    @property
    def revision(self) -> str:
        return self.fast.revision

    @torch.inference_mode()
    def answer_image(self, image: ImageLike, questions: Sequence[Question]) -> list[Prediction]:
        """One question after the other."""
        return [self._answer_image_question(image, question) for question in questions]

    @torch.inference_mode()
    def answer_video(
        self, frames: Iterable[ImageLike], questions: Sequence[Question]
    ) -> VideoAnswers:
        """One question after the other; all frames are held in memory."""
        pictures = [as_rgb(frame) for frame in frames]
        side = self.fast.config.vision.image_size
        answers, tracks = [], []
        for question in questions:
            tiles = [frame_tile(picture, side) for picture in pictures[:PROMPTED_FRAMES]]
            generated = self._generate(question, see_video(self.fast._tile_tokens(tiles)))
            answers.append(self._answer(generated))
            for prompt in self.fast._prompt_embeddings([generated]):
                tracks.append([*self._track(pictures, prompt[None])])
        return VideoAnswers(answers, (_side_by_side(step) for step in zip(*tracks, strict=True)))

    def _answer_image_question(self, image: ImageLike, question: Question) -> Prediction:
        picture = as_rgb(image)
        config = self.fast.config
        tiles = image_tiles(picture, config.vision.image_size, config.max_tiles)
        generated = self._generate(question, see_image(self.fast._tile_tokens(tiles)))
        objects = []
        for prompt in self.fast._prompt_embeddings([generated]):
            features = self.fast._features(picture, video=False)
            decoded = self.fast.model.segmenter.decode_prompts(features, prompt[None])
            objects.append(self.fast._frame_masks(0, decoded, picture.size))
        frames = (_side_by_side(objects),) if objects else ()
        return Prediction(self._answer(generated), frames)

    def _track(self, pictures: list[Image.Image], prompt: Tensor) -> Iterator[FrameMasks]:
        segmenter = self.fast.model.segmenter
        tracker = Tracker(segmenter)
        for frame_idx, picture in enumerate(pictures):
            features = self.fast._features(picture, video=True)
            if frame_idx < PROMPTED_FRAMES:
                decoded = segmenter.decode_prompts(features, prompt)
                again = self.fast._features(picture, video=True)  # to encode its memory
                tracker.condition(frame_idx, again, decoded)
            else:
                decoded = tracker.track_frame(frame_idx, features)
            yield self.fast._frame_masks(frame_idx, decoded, pictures[0].size)

    def _answer(self, generated: GeneratedAnswer) -> Answer:
        return Answer(self.fast._text(generated), generated.seg_probabilities)

    def _generate(self, question: Question, seen: SeenPicture) -> GeneratedAnswer:
        return self._greedy(self.fast._questions.encode(question, seen))

    def _greedy(self, prompt: EncodedPrompt) -> GeneratedAnswer:
        """Token by token, as any greedy decoder does it."""
        language_model = self.fast.model.language_model
        cache = DynamicCache(config=language_model.config)
        inputs = prompt.embeddings[None]
        ids: list[int] = []
        seg_states, seg_probabilities, probability = [], [], 0.0
        while True:
            states = language_model.model(
                inputs_embeds=inputs, past_key_values=cache, use_cache=True
            ).last_hidden_state[0]
            if ids and ids[-1] == self.fast.tokenizer.seg_token_id:
                seg_states.append(states[-1])
                seg_probabilities.append(probability)
            probabilities = language_model.lm_head(states[-1]).float().softmax(dim=-1)
            best = probabilities.max(dim=-1)
            probability = float(best.values)
            ids.append(int(best.indices))
            if self.fast.stop(ids) or len(ids) == MAX_NEW_TOKENS:
                break
            inputs = language_model.model.embed_tokens(best.indices[None, None])
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
