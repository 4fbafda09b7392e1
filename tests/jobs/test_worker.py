"""What a worker does beside its model."""

import threading
import time

from sa2va_cli.config import Prompt
from sa2va_cli.jobs.messages import Begun, Failed, Finished, WorkItem
from sa2va_cli.jobs.opened import Asking
from sa2va_cli.jobs.worker import WorkerSpec, serve
from sa2va_cli.media.item import MediaItem
from sa2va_cli.media.video import FrameSampling
from sa2va_cli.results import VideoOptions
from tests.jobs.tiny import TinyAnnotator, write_pictures

ASKING = Asking("segment", (Prompt("a", "a"),), None, FrameSampling(), VideoOptions(), None)


class Preparing(TinyAnnotator):
    """Takes only what it has prepared, as lists; three pictures are in preparation at a time."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "three", threading.Barrier(3))

    def prepare(self, image):
        self.three.wait(timeout=10)
        return [image]

    def answer_image(self, image, questions):
        (pixels,) = image
        return super().answer_image(pixels, questions)


def work(annotator, paths, tmp_path, openers):
    sent = []
    items = [
        WorkItem(number, MediaItem(path.name, str(path), "image", 1, 1))
        for number, path in enumerate(paths, 1)
    ]
    spec = WorkerSpec(
        "cpu", lambda device: annotator, ASKING, 1, tmp_path / "log", 0, openers=openers
    )
    serve(spec, iter(items), sent.append)
    return sent


def of(kind, sent):
    return [message.item for message in sent if isinstance(message, kind)]


def test_pictures_are_prepared_by_several_threads_ahead_of_the_model(tmp_path):
    paths = write_pictures(tmp_path, 6)
    sent = work(Preparing(), paths, tmp_path, openers=3)
    assert sorted(of(Begun, sent)) == of(Finished, sent) == [1, 2, 3, 4, 5, 6]
    first = next(message for message in sent if isinstance(message, Finished))
    plain = work(TinyAnnotator(), paths[:1], tmp_path, openers=1)
    assert first == next(message for message in plain if isinstance(message, Finished))


class Cramped(TinyAnnotator):
    """Has room to prepare one picture at a time, and none for one of 13 rows."""

    def __init__(self):
        super().__init__()
        object.__setattr__(self, "room", threading.Semaphore())

    def prepare(self, image):
        if image.shape[0] == 13 or not self.room.acquire(blocking=False):
            raise MemoryError
        time.sleep(0.02)
        self.room.release()
        return image


def test_where_memory_lacks_pictures_are_prepared_in_turns_and_only_what_is_too_large_fails(
    tmp_path,
):
    paths = [*write_pictures(tmp_path / "a", 7), *write_pictures(tmp_path / "b", 1, size=13)]
    sent = work(Cramped(), paths, tmp_path, openers=3)
    assert (of(Finished, sent), of(Failed, sent)) == ([1, 2, 3, 4, 5, 6, 7], [8])
    assert "Out of memory" in str(sent)
