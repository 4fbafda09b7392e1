"""What is kept of a video in windows, whatever the model could see of it."""

import numpy as np

from sa2va_cli.config import Prompt
from sa2va_cli.jobs.messages import WorkItem
from sa2va_cli.jobs.opened import OpenedVideo
from sa2va_cli.jobs.records import exchanges
from sa2va_cli.jobs.windows import WindowedAnnotator
from sa2va_cli.media.item import MediaItem
from sa2va_cli.media.video import open_video
from sa2va_cli.results import Answer, FrameMasks, TrackedMasks, VideoOptions, WindowLook
from sa2va_cli.tasks import get_task
from tests.jobs.tiny import write_pictures

SAID = Answer("Sure, [SEG].<|im_end|>", (0.75,))


class BlindInTheMiddle:
    """Windows of two frames; of the second one, not one key frame can be read."""

    def answer_windows(self, footage, questions, options, naming, state):
        for window in range(3):
            answers = () if window == 1 else (SAID,) * len(questions)
            names = naming(answers)
            yield WindowLook(window, 2 * window, answers, (1, 2)[: len(names)], b"")
            for position in (2 * window, 2 * window + 1):
                masks = np.ones((2, 16, 20), bool)
                scores = np.ones(2, np.float32)
                yield TrackedMasks((1, 2), FrameMasks(position, masks, scores, scores))


class Kept:
    def __init__(self):
        self.frames = []

    def add_numbered(self, masks, obj_ids):
        self.frames.append((masks.frame_idx, tuple(obj_ids)))


def test_a_window_that_shows_the_language_model_nothing_is_tracked_on(tmp_path):
    write_pictures(tmp_path / "clip", 6)
    task = get_task("segment")
    asked = exchanges(task, (Prompt("car", "the car"), Prompt("dog", "the dog")), "video", ())
    media = MediaItem("clip", str(tmp_path / "clip"), "frames", 1, 1)
    opened = OpenedVideo(WorkItem(1, media), asked, open_video(media.path))
    options, kept = VideoOptions(window=2), Kept()
    result = WindowedAnnotator(BlindInTheMiddle(), task, options, lambda do: do()).annotate(
        opened, kept
    )
    assert kept.frames == [(number, (1, 2)) for number in range(6)]
    assert [o.obj_id for o in result.objects] == [1, 2]
    assert [(w.window, w.prompt_idx) for w in result.windows] == [(0, 0), (0, 1), (2, 0), (2, 1)]
    assert [answer.text for answer in result.answers] == ["Sure."] * 2
