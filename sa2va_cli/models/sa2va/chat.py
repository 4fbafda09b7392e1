"""A conversation about one picture or clip: each is looked at once, and no turn is read twice."""

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sa2va_cli.errors import UsageError
from sa2va_cli.models.sa2va.conversation import IMAGE, STOP_WORDS
from sa2va_cli.models.sa2va.generation import Generator
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.kept import KeptCells
from sa2va_cli.models.sa2va.pictures import ImageLike
from sa2va_cli.models.sa2va.questions import NOTHING_SEEN, SeenPicture
from sa2va_cli.models.sa2va.steps import Steps
from sa2va_cli.models.sa2va.streaming import TextStream
from sa2va_cli.models.sa2va.video import KeyFrames, MaskStream, check_rereadable, pick_key_frames
from sa2va_cli.models.sa2va.views import Views, ViewsOfAll
from sa2va_cli.results import Answer, FrameMasks, Prediction, Question, VideoOptions

KEPT_FRAMES = 32  # of a video, with SAM 2 features: 44 MB in bfloat16; others are encoded anew


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, as they were sent and said."""

    question: str
    answer: str  # special tokens kept


class Subject(Protocol):
    """What a conversation is about. Whatever is asked, it is looked at once."""

    def seen(self) -> SeenPicture:
        """As the language model sees it."""
        ...

    def masks(self, prompts: Tensor) -> Iterator[FrameMasks]:
        """(N, 1, C) prompts -> the masks of N objects, frame by frame."""
        ...


class Reply:
    """An answer, there at once, and its masks frame by frame, which can be taken once.

    The conversation goes on from this answer as soon as its last mask has been taken.
    """

    def __init__(self, answer: Answer, masks: Iterator[FrameMasks]) -> None:
        self.answer = answer
        self._masks = masks

    def __iter__(self) -> Iterator[FrameMasks]:
        return self._masks


class Conversation:
    """Made by `Sa2VA.chat`. A question that fails or is interrupted was never asked."""

    def __init__(self, steps: Steps, generator: Generator, subject: Subject) -> None:
        self._steps = steps
        self._generator = generator
        self._subject = subject
        self._kept = KeptCells(steps.model.reader.new_cells())
        self.reset()

    def reset(self) -> None:
        """Forget all turns. What was seen is kept."""
        self.turns: list[Turn] = []
        self.past_text = ""  # the turns as `Sa2VA.predict` takes them
        self._mask_prompts: np.ndarray | None = None

    def ask(
        self,
        text: str,
        mask_prompts: np.ndarray | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Prediction:
        """Answer as `Sa2VA.predict` would with `past_text`.

        In the first turn <image> is put in front of a text without it, and `mask_prompts` may
        bring (regions, H, W), which later turns can talk about, too. `on_text` gets the answer's
        text while it is written, special tokens included. Raises UsageError for what does not fit
        the turn.
        """
        reply = self.answer(text, mask_prompts, on_text)
        return Prediction(reply.answer, tuple(reply))

    @torch.inference_mode()
    def answer(
        self,
        text: str,
        mask_prompts: np.ndarray | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """The same with the masks streamed, for videos whose masks memory cannot hold."""
        text, spelled = self._spell(text, mask_prompts)
        regions = self._mask_prompts if self.turns else mask_prompts
        seen = self._subject.seen()
        prompt = self._steps.questions.encode_text(spelled, seen, regions)
        if not self.turns:  # regions of as many cells look alike as ids, but are not
            self._kept.cut(prompt.picture_end)
        stream = TextStream(self._steps.tokenizer, on_text or _ignore)
        generated = self._generator.converse(prompt, self._kept, stream.update)
        stream.finish(generated.ids)
        answer, prompts = self._steps.answer(generated), self._steps.prompt_embeddings([generated])
        if seen.tokens is None:  # plain chat: [SEG] is a word like any other
            answer, prompts = Answer(answer.text), prompts[:0]
        turn = Turn(text, answer.text)
        return Reply(answer, self._masks_then_remember(prompts, turn, spelled, regions))

    @torch.inference_mode()
    def recall(self, question: str, answer: str, mask_prompts: np.ndarray | None = None) -> None:
        """Add a turn as if it had just been asked and answered so."""
        if not self.turns:  # as in `answer`; where the picture ends, nobody knows yet
            self._kept.cut(0)
        regions = self._mask_prompts if self.turns else mask_prompts
        text, spelled = self._spell(question, mask_prompts)
        self._remember(Turn(text, answer), spelled, regions)

    def _spell(self, text: str, mask_prompts: np.ndarray | None) -> tuple[str, str]:
        """The question as it is sent, and behind all that was said before."""
        seen = self._subject.seen()
        if not self.turns and seen.tokens is not None and IMAGE not in text:
            text = f"{IMAGE}\n{text.strip()}"
        question = Question(text, self.past_text, mask_prompts)
        return text, self._steps.questions.spell(question, seen)

    def _masks_then_remember(
        self, prompts: Tensor, turn: Turn, spelled: str, regions: np.ndarray | None
    ) -> Iterator[FrameMasks]:
        if len(prompts):
            yield from self._subject.masks(prompts)
        self._remember(turn, spelled, regions)

    def _remember(self, turn: Turn, spelled: str, regions: np.ndarray | None) -> None:
        """Turns are joined as in training: instruction, answer, its end word, line break."""
        end_words = STOP_WORDS[self._steps.config.template]
        said = turn.answer
        for word in end_words:
            said = said.removesuffix(word)
        self.past_text = f"{spelled}{said}{end_words[0]}\n"
        self._mask_prompts = regions
        self.turns = [*self.turns, turn]


class NoSubject:
    """Plain chat."""

    def seen(self) -> SeenPicture:
        return NOTHING_SEEN

    def masks(self, prompts: Tensor) -> Iterator[FrameMasks]:
        return iter(())


class ImageSubject:
    """One image: its tokens for the language model, and its SAM 2 features once it is needed."""

    def __init__(self, steps: Steps, image: ImageLike) -> None:
        self._steps = steps
        self._views = steps.views(image)
        self._seen: SeenPicture | None = None
        self._features: FrameFeatures | None = None

    def seen(self) -> SeenPicture:
        if self._seen is None:
            self._seen = self._steps.see_image(self._views)
        return self._seen

    def masks(self, prompts: Tensor) -> Iterator[FrameMasks]:
        with torch.inference_mode():
            if self._features is None:
                self._features = self._steps.features(self._views, video=False)
            decoded = self._steps.model.segmenter.decode_prompts(self._features, prompts)
            masks = self._steps.frame_masks(0, decoded, self._views.size)
        yield masks


class VideoSubject:
    """A video, read again for every answer with masks."""

    def __init__(self, steps: Steps, frames: Iterable[ImageLike], options: VideoOptions) -> None:
        self._steps = steps
        self._frames = ViewsOfAll(frames, steps.views)
        self._options = options
        self._num_frames = len(frames) if isinstance(frames, Sized) else None
        self._keys: KeyFrames | None = None
        self._seen: SeenPicture | None = None
        self._features: dict[int, FrameFeatures] = {}

    def seen(self) -> SeenPicture:
        """Raises UsageError for a video without frames."""
        if self._seen is None:
            keys = pick_key_frames(self._frames, self._options, self._num_frames)
            # What is upcoming would hold its decoder for as long as the chat lasts.
            self._keys = replace(keys, all_frames=iter(()))
            self._seen = self._steps.see_video(keys.pictures)
        return self._seen

    def masks(self, prompts: Tensor) -> Iterator[FrameMasks]:
        self.seen()
        assert self._keys is not None
        keys = replace(  # the stream empties its list
            self._keys,
            pictures=list(self._keys.pictures),
            all_frames=self._steps.ahead(enumerate(self._frames)),
        )
        stream = MaskStream(
            self._steps.model.segmenter,
            self._features_of,
            prompts,
            consistent=self._options.mode == "sa2va-i",
        )
        size = keys.size
        yield from self._steps.received(
            self._steps.send_masks(index, decoded, size) for index, decoded in stream.run(keys)
        )

    def _features_of(self, frame_idx: int, views: Views) -> FrameFeatures:
        if frame_idx in self._features:
            return self._features[frame_idx]
        features = self._steps.features(views, video=True)
        if len(self._features) < KEPT_FRAMES:
            self._features[frame_idx] = features
        return features


def subject_of(
    steps: Steps,
    image: ImageLike | None,
    video: Iterable[ImageLike] | None,
    options: VideoOptions,
) -> Subject:
    """Raises UsageError for both, and for a video that can be read only once."""
    if image is not None and video is not None:
        raise UsageError("Both an image and a video were given.", hint="give one of them")
    if video is not None:
        check_rereadable(video)
        return VideoSubject(steps, video, options)
    return NoSubject() if image is None else ImageSubject(steps, image)


def _ignore(text: str) -> None:
    pass
