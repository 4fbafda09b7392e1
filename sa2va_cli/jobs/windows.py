"""A video in windows: what the model says and draws, collected for the store, window by window."""

import json
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, replace
from functools import partial
from typing import Protocol

import numpy as np

from sa2va_cli.jobs.annotator import Annotator
from sa2va_cli.jobs.messages import Checkpoint
from sa2va_cli.jobs.opened import OpenedVideo, video_result
from sa2va_cli.jobs.records import Exchange
from sa2va_cli.media.video import Frame, Video
from sa2va_cli.prefetch import prefetch
from sa2va_cli.results import (
    Answer,
    AnswerRecord,
    FrameMasks,
    FrameRun,
    ItemResult,
    ObjectRecord,
    VideoOptions,
    WindowLook,
    WindowRecord,
    frame_runs,
)
from sa2va_cli.tasks import Task
from sa2va_cli.tasks.reading import Reading

FRAMES_AHEAD = 4  # decoded frames that wait for the model: 25 MB each at 4K
MAX_STATE = 2**29  # bytes of a checkpoint: with more, a video that is broken off begins anew


class Batch(Protocol):
    """Where masks go on their way to the store, and marks between them."""

    def add_numbered(self, masks: FrameMasks, obj_ids: Sequence[int]) -> None: ...

    def reach(self, checkpoint: Checkpoint) -> None: ...


class WindowedAnnotator:
    """Puts videos to the model window by window. What it makes of an answer is done `later`."""

    def __init__(
        self,
        annotator: Annotator,
        task: Task,
        options: VideoOptions,
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self._annotator = annotator
        self._task = task
        self._options = options
        self._later = later

    def annotate(self, opened: OpenedVideo, batch: Batch) -> ItemResult:
        """The whole video, or what an earlier attempt has left of it."""
        records, checkpoint = VideoRecords(self._task, opened.asked), opened.work.checkpoint
        missing = 0
        if checkpoint:
            records.restore(checkpoint)
            done = bisect_left(opened.video.info.selected, checkpoint.frame_idx)
            missing = done - len(records.frames)
        footage = VideoFootage(opened.video, missing)
        questions = [exchange.question for exchange in opened.asked]
        state = checkpoint.state if checkpoint else b""
        for event in self._annotator.answer_windows(
            footage, questions, self._options, records.name, state
        ):
            if isinstance(event, WindowLook):
                records.note(opened.video.notes)
                self._begin(event, footage.numbers[event.first], records, batch)
            else:
                number = footage.numbers[event.masks.frame_idx]
                records.frames.append(number)
                masks = replace(event.masks, frame_idx=number)
                self._later(partial(batch.add_numbered, masks, event.obj_ids))
        result = video_result(opened, len(records.frames))
        records.note(result.notes)
        return replace(
            result,
            notes=tuple(records.notes),
            answers=records.answers(),
            objects=tuple(records.objects),
            frames=frame_runs(records.frames),
            windows=tuple(records.windows) if self._options.window is not None else (),
        )

    def _begin(
        self, look: WindowLook, frame_idx: int, records: "VideoRecords", batch: Batch
    ) -> None:
        """All before this window is done; note what was said at its beginning."""
        if 0 < len(look.state) <= MAX_STATE:
            self._later(partial(batch.reach, records.checkpoint(frame_idx, look.state)))
        records.look(look, frame_idx)


class VideoFootage:
    """See results.Footage: an opened video as the model goes through it."""

    def __init__(self, video: Video, missing: int = 0) -> None:
        """`missing`: so many of the frames that an earlier attempt got past cannot be decoded."""
        self._video = video
        self._missing = missing
        selected, sampled = video.info.selected, video.info.sampled
        self.numbers: Sequence[int] = selected  # position -> number in the file
        self.sampled: Sequence[int] = range(len(selected))
        if len(sampled) < len(selected):
            self.sampled = [bisect_left(selected, number) for number in sampled]

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, first: int) -> Iterator[tuple[int, np.ndarray]]:
        missing = min(first, self._missing)
        with closing(prefetch(self._video.read(first, missing), FRAMES_AHEAD)) as frames:  # type: ignore[type-var]
            for frame in frames:
                yield self._place(frame)

    def _place(self, frame: Frame) -> tuple[int, np.ndarray]:
        return bisect_left(self.numbers, frame.frame_idx), frame.pixels


class VideoRecords:
    """What is to be stored of a video beside its masks, so far."""

    def __init__(self, task: Task, asked: Sequence[Exchange]) -> None:
        self._task = task
        self._asked = asked
        self.windows: list[WindowRecord] = []
        self.objects: list[ObjectRecord] = []
        self.frames = array("q")  # numbers in the file of those that were looked at
        self.notes: list[str] = []  # on the file, those of earlier attempts first

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there."""
        stored = json.loads(checkpoint.records)
        self.windows = [WindowRecord(*window) for window in stored["windows"]]
        self.objects = [ObjectRecord(*record) for record in stored["objects"]]
        self.notes = stored.get("notes", [])
        for run in stored["frames"]:
            self.frames.extend(FrameRun(*run).numbers)

    def checkpoint(self, frame_idx: int, state: bytes) -> Checkpoint:
        records = {
            "windows": [astuple(window) for window in self.windows],
            "objects": [astuple(record) for record in self.objects],
            "frames": [astuple(run) for run in frame_runs(self.frames)],
            "notes": self.notes,
        }
        return Checkpoint(frame_idx, json.dumps(records), state)

    def note(self, notes: Sequence[str]) -> None:
        """What the file's reader has told so far."""
        self.notes = list(dict.fromkeys([*self.notes, *notes]))

    def name(self, answers: Sequence[Answer]) -> list[str]:
        """What each [SEG] is called, in order."""
        return [label for reading in self._read(answers) for label in reading.labels]

    def look(self, look: WindowLook, frame_idx: int) -> None:
        """Note what was said at the window that begins with this frame of the file."""
        obj_ids = iter(look.obj_ids)
        for idx, (answer, reading) in enumerate(
            zip(look.answers, self._read(look.answers), strict=True)
        ):
            self.windows.append(
                WindowRecord(
                    look.window, idx, frame_idx, reading.text, answer.text, answer.presence
                )
            )
            for label, probability in zip(reading.labels, answer.seg_probabilities, strict=True):
                self._note_object(next(obj_ids), idx, label, float(probability))

    def answers(self) -> tuple[AnswerRecord, ...]:
        """One for each prompt: whatever was said to it, each once, a line each."""
        return tuple(self._answer(idx, exchange) for idx, exchange in enumerate(self._asked))

    def _read(self, answers: Sequence[Answer]) -> list[Reading]:
        """Of each prompt's answer; of none where not one key frame of a window could be read."""
        if not answers:
            return []
        return [
            self._task.read(exchange.prompt, answer)
            for exchange, answer in zip(self._asked, answers, strict=True)
        ]

    def _note_object(self, obj_id: int, prompt_idx: int, label: str, probability: float) -> None:
        """Only the first time; numbers count up in the order in which objects are found."""
        if obj_id == len(self.objects) + 1:
            category = self._asked[prompt_idx].prompt.category
            self.objects.append(ObjectRecord(obj_id, prompt_idx, category, label, probability))

    def _answer(self, idx: int, exchange: Exchange) -> AnswerRecord:
        said = [window for window in self.windows if window.prompt_idx == idx]
        presences = [window.presence for window in said if window.presence is not None]
        return AnswerRecord(
            prompt_idx=idx,
            category=exchange.prompt.category,
            prompt=exchange.prompt.text,
            question=exchange.question.text,
            text="\n".join(dict.fromkeys(window.text for window in said)),
            raw_text="\n".join(dict.fromkeys(window.raw_text for window in said)),
            presence=max(presences, default=None),
        )
