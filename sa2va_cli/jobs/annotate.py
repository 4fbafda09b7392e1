"""Annotate one opened item: the model answers here, its masks are encoded behind it in a thread."""

import queue
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial

import numpy as np

from sa2va_cli.jobs.annotator import Annotator
from sa2va_cli.jobs.last_words import LastWords
from sa2va_cli.jobs.messages import (
    Checkpoint,
    Failed,
    Finished,
    Masks,
    Reached,
    Restarted,
    Send,
    Thinking,
)
from sa2va_cli.jobs.opened import OpenedImage, OpenedVideo, image_result, video_result
from sa2va_cli.jobs.out_of_memory import (
    ERRORS,
    Sparing,
    TooLarge,
    free_memory,
    is_out_of_memory,
    memory_reason,
)
from sa2va_cli.jobs.records import Exchange, mask_records, numbered_records, read_answers
from sa2va_cli.jobs.windows import FRAMES_AHEAD, WindowedAnnotator
from sa2va_cli.media.video import Video
from sa2va_cli.prefetch import prefetch
from sa2va_cli.results import (
    Answer,
    FrameMasks,
    ItemResult,
    MaskRecord,
    Prediction,
    Question,
    VideoOptions,
    frame_runs,
)
from sa2va_cli.tasks import Task

RESULTS_BEHIND = 8  # that wait to be encoded: images, as many as a GPU has at a time, or frames
MASKS_A_MESSAGE = 64
SIGN_OF_LIFE_SECONDS = 1.0


class EncodingStoppedError(Exception):
    """The thread behind the model ended with an error, which it has told."""


class Behind:
    """A thread that does what is put into it, in order; when full, the model waits.

    After an error it does nothing more, so that no item is finished of which something is missing.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._stopped = False
        self._todo: queue.Queue[Callable[[], None] | None] = queue.Queue(RESULTS_BEHIND)
        self._thread = threading.Thread(target=self._run, name="encode", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], None]) -> None:
        """Raises EncodingStoppedError when it came to an end before."""
        if self._stopped:
            raise EncodingStoppedError
        self._todo.put(work)

    def finish(self) -> None:
        """Return when everything is done."""
        self._todo.put(None)
        self._thread.join()

    def _run(self) -> None:
        with LastWords(self._send):
            while work := self._todo.get():
                work()
            return
        self._stopped = True
        with suppress(queue.Empty):
            while True:
                self._todo.get_nowait()  # makes room: who waits in `do` goes on


class ItemAnnotator:
    """Puts opened items to the model, and sends what comes of it."""

    def __init__(self, annotator: Annotator, task: Task, options: VideoOptions, send: Send) -> None:
        self._annotator = annotator
        self._sparing = Sparing(annotator)
        self._task = task
        self._options = options
        self._send = send
        self._behind = Behind(send)
        self._in_windows = WindowedAnnotator(annotator, task, options, self._behind.do)

    def finish(self) -> None:
        self._behind.finish()

    def images(self, batch: Sequence[OpenedImage]) -> None:
        """Several images at a time, or one."""
        for opened in batch:
            self._send(Thinking(opened.work.item))
        outcomes = self._sparing.answer([(one.picture, _questions(one.asked)) for one in batch])
        for opened, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, TooLarge):
                self._send(Failed(opened.work.item, outcome.reason))
            else:
                self._behind.do(partial(self._send_image, opened, outcome))

    def video(self, opened: OpenedVideo) -> None:
        """Nothing is sent as finished unless every frame went through.

        Where memory does not suffice for all prompts, they are answered in turns; not so in
        windows, which tell objects of all prompts apart.
        """
        self._send(Thinking(opened.work.item))
        info = opened.video.info
        in_windows = self._options.window is not None or len(info.sampled) < len(info.selected)
        at_once = 1 if in_windows else len(opened.asked)
        with opened.video:
            while True:
                try:
                    if in_windows:
                        self._video_in_windows(opened)
                    else:
                        self._video(opened, at_once)
                    return
                except ERRORS as error:
                    if not is_out_of_memory(error):
                        raise
                    reason = memory_reason(error)
                free_memory()
                if at_once == 1:
                    self._behind.do(partial(self._send, Failed(opened.work.item, reason)))
                    return
                at_once = (at_once + 1) // 2
                self._behind.do(partial(self._send, Restarted(opened.work.item)))

    def _video(self, opened: OpenedVideo, at_once: int) -> None:
        """So many prompts at a time, each time through the whole video."""
        numbers = array("q")  # of the frames that the model was given, in the file
        batch = MaskBatch(opened.work.item, self._send)
        frames = _Frames(opened.video, numbers)
        num_frames = len(opened.video.info.selected)
        said: list[Answer] = []
        num_objects = 0
        seen: Sequence[int] = opened.video.info.selected
        for start in range(0, len(opened.asked), at_once):
            questions = _questions(opened.asked[start : start + at_once])
            spoken = self._annotator.answer_video(frames, questions, self._options, num_frames)
            for masks in spoken:
                numbered = replace(masks, frame_idx=numbers[masks.frame_idx])
                self._behind.do(partial(batch.add, numbered, num_objects + 1))
            said += spoken.answers
            own_objects = sum(len(answer.seg_probabilities) for answer in spoken.answers)
            num_objects += own_objects
            # Without objects the model leaves most frames unread.
            seen = numbers[:] if own_objects else seen
        answers, objects = read_answers(self._task, opened.asked, said)
        result = replace(
            video_result(opened, len(seen)),
            answers=answers,
            objects=objects,
            frames=frame_runs(seen),
        )
        self._behind.do(partial(batch.finish, result))

    def _video_in_windows(self, opened: OpenedVideo) -> None:
        batch = MaskBatch(opened.work.item, self._send)
        result = self._in_windows.annotate(opened, batch)
        self._behind.do(partial(batch.finish, result))

    def _send_image(self, opened: OpenedImage, predictions: Sequence[Prediction]) -> None:
        answers, objects = read_answers(
            self._task, opened.asked, [prediction.answer for prediction in predictions]
        )
        masks: list[MaskRecord] = []
        for prediction in predictions:
            for frame in prediction.frames:
                masks += mask_records(frame, first_obj_id=len(masks) + 1)
        result = replace(image_result(opened), answers=answers, objects=objects)
        self._send(Finished(opened.work.item, result, tuple(masks)))


def _questions(asked: Sequence[Exchange]) -> list[Question]:
    return [exchange.question for exchange in asked]


class MaskBatch:
    """Collects the masks of a video's frames and sends them by the handful."""

    def __init__(self, item: int, send: Send) -> None:
        self._item = item
        self._send = send
        self._masks: list[MaskRecord] = []
        self._frames = 0
        self._last_sign = time.monotonic()

    def add(self, masks: FrameMasks, first_obj_id: int) -> None:
        self._add(mask_records(masks, first_obj_id))

    def add_numbered(self, masks: FrameMasks, obj_ids: Sequence[int]) -> None:
        self._add(numbered_records(masks, obj_ids))

    def _add(self, records: list[MaskRecord]) -> None:
        self._masks += records
        self._frames += 1
        if len(self._masks) >= MASKS_A_MESSAGE:
            self._flush()
        if time.monotonic() - self._last_sign >= SIGN_OF_LIFE_SECONDS:
            self._send(Thinking(self._item, self._frames))
            self._last_sign = time.monotonic()

    def reach(self, checkpoint: Checkpoint) -> None:
        self._flush()
        self._send(Reached(self._item, checkpoint))

    def _flush(self) -> None:
        self._send(Masks(self._item, tuple(self._masks)))
        self._masks = []

    def finish(self, result: ItemResult) -> None:
        self._send(Finished(self._item, result, tuple(self._masks)))


class _Frames:
    """A video's pictures for the model, decoded ahead, as often as it wants to see them."""

    def __init__(self, video: Video, numbers: "array[int]") -> None:
        """`numbers` always holds the numbers, in the file, of the frames of the newest pass."""
        self._video = video
        self._numbers = numbers

    def __iter__(self) -> Iterator[np.ndarray]:
        del self._numbers[:]
        with closing(prefetch(self._video, FRAMES_AHEAD)) as frames:  # type: ignore[type-var]
            for frame in frames:
                self._numbers.append(frame.frame_idx)
                yield frame.pixels
