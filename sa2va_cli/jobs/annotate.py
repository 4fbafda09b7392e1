"""Annotate one opened item: the model answers here, its masks are encoded behind it in a thread."""

import queue
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from sa2va_cli.jobs.annotator import Annotator
from sa2va_cli.jobs.messages import Checkpoint, Finished, FromWorker, Masks, Reached, Thinking
from sa2va_cli.jobs.opened import OpenedImage, OpenedVideo, image_result, video_result
from sa2va_cli.jobs.records import mask_records, read_answers
from sa2va_cli.jobs.windows import FRAMES_AHEAD, VideoFootage, VideoRecords
from sa2va_cli.media.prefetch import prefetch
from sa2va_cli.media.video import Video
from sa2va_cli.results import (
    FrameMasks,
    ItemResult,
    MaskRecord,
    Prediction,
    VideoOptions,
    WindowLook,
    frame_runs,
)
from sa2va_cli.tasks import Task

Send = Callable[[FromWorker], None]
RESULTS_BEHIND = 4  # results that wait to be encoded: an image's, or a frame's
MASKS_A_MESSAGE = 64
SIGN_OF_LIFE_SECONDS = 1.0
MAX_STATE = 2**29  # bytes of a checkpoint: with more, a video that is broken off begins anew


class Behind:
    """A thread that does what is put into it, in order; when full, the model waits."""

    def __init__(self) -> None:
        self._todo: queue.Queue[Callable[[], None] | None] = queue.Queue(RESULTS_BEHIND)
        self._thread = threading.Thread(target=self._run, name="encode", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], None]) -> None:
        self._todo.put(work)

    def finish(self) -> None:
        """Return when everything is done."""
        self._todo.put(None)
        self._thread.join()

    def _run(self) -> None:
        while work := self._todo.get():
            work()


class ItemAnnotator:
    """Puts opened items to the model, and sends what comes of it."""

    def __init__(self, annotator: Annotator, task: Task, options: VideoOptions, send: Send) -> None:
        self._annotator = annotator
        self._task = task
        self._options = options
        self._send = send
        self._behind = Behind()

    def finish(self) -> None:
        self._behind.finish()

    def image(self, opened: OpenedImage) -> None:
        self._send(Thinking(opened.work.item))
        questions = [exchange.question for exchange in opened.asked]
        predictions = self._annotator.answer_image(opened.pixels, questions)
        self._behind.do(lambda: self._send_image(opened, predictions))

    def video(self, opened: OpenedVideo) -> None:
        """Nothing is sent as finished unless every frame went through."""
        self._send(Thinking(opened.work.item))
        info = opened.video.info
        if self._options.window is not None or len(info.sampled) < len(info.selected):
            self._video_in_windows(opened)
            return
        questions = [exchange.question for exchange in opened.asked]
        numbers = array("q")  # of the frames that the model was given, in the file
        batch = MaskBatch(opened.work.item, self._send)
        with opened.video:
            frames = _Frames(opened.video, numbers)
            num_frames = len(opened.video.info.selected)
            spoken = self._annotator.answer_video(frames, questions, self._options, num_frames)
            answers, objects = read_answers(self._task, opened.asked, spoken.answers)
            for masks in spoken:
                numbered = replace(masks, frame_idx=numbers[masks.frame_idx])
                self._behind.do(lambda masks=numbered: batch.add(masks))  # type: ignore[misc]
            # Without objects the model leaves most frames unread.
            seen = numbers if objects else opened.video.info.selected
            result = replace(
                video_result(opened, len(seen)),
                answers=answers,
                objects=objects,
                frames=frame_runs(seen),
            )
        self._behind.do(lambda: batch.finish(result))

    def _video_in_windows(self, opened: OpenedVideo) -> None:
        """The same, from where an earlier attempt came to."""
        work, batch = opened.work, MaskBatch(opened.work.item, self._send)
        records, state, missing = VideoRecords(self._task, opened.asked), b"", 0
        with opened.video:
            if work.checkpoint:
                records.restore(work.checkpoint)
                state = work.checkpoint.state
                done = bisect_left(opened.video.info.selected, work.checkpoint.frame_idx)
                missing = done - len(records.frames)
            footage = VideoFootage(opened.video, missing)
            questions = [exchange.question for exchange in opened.asked]
            story = self._annotator.answer_windows(
                footage, questions, self._options, records.name, state
            )
            for event in story:
                if isinstance(event, WindowLook):
                    frame_idx = footage.numbers[event.first]
                    if 0 < len(event.state) <= MAX_STATE:
                        reached = records.checkpoint(frame_idx, event.state)
                        self._behind.do(lambda reached=reached: batch.reach(reached))  # type: ignore[misc]
                    records.look(event, frame_idx)
                    continue
                number = footage.numbers[event.masks.frame_idx]
                records.frames.append(number)
                masks = replace(event.masks, frame_idx=number)
                self._behind.do(lambda m=masks, ids=event.obj_ids: batch.add(m, ids))  # type: ignore[misc]
            result = replace(
                video_result(opened, len(records.frames)),
                answers=records.answers(),
                objects=tuple(records.objects),
                frames=frame_runs(records.frames),
                windows=tuple(records.windows) if self._options.window is not None else (),
            )
        self._behind.do(lambda: batch.finish(result))

    def _send_image(self, opened: OpenedImage, predictions: Sequence[Prediction]) -> None:
        answers, objects = read_answers(
            self._task, opened.asked, [prediction.answer for prediction in predictions]
        )
        masks: list[MaskRecord] = []
        for prediction in predictions:
            for frame in prediction.frames:
                numbers = range(len(masks) + 1, len(masks) + 1 + len(frame.masks))
                masks += mask_records(frame, numbers)
        result = replace(image_result(opened), answers=answers, objects=objects)
        self._send(Finished(opened.work.item, result, tuple(masks)))


class MaskBatch:
    """Collects the masks of a video's frames and sends them by the handful."""

    def __init__(self, item: int, send: Send) -> None:
        self._item = item
        self._send = send
        self._masks: list[MaskRecord] = []
        self._frames = 0
        self._last_sign = time.monotonic()

    def add(self, masks: FrameMasks, obj_ids: Sequence[int] | None = None) -> None:
        """Without numbers, objects count up from 1."""
        self._masks += mask_records(masks, obj_ids)
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
