"""Where memory does not suffice: less at a time, the same results; an item fails, never the run."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from sa2va_cli.config import Prompt
from sa2va_cli.jobs import out_of_memory
from sa2va_cli.jobs.annotator import BatchAnnotator
from sa2va_cli.jobs.out_of_memory import Sparing, TooLarge, is_out_of_memory
from sa2va_cli.results import Question
from tests.jobs.runs import job, results, run_job
from tests.jobs.tiny import TinyAnnotator, write_pictures

PROMPTS = tuple(Prompt(text, text) for text in ("the cat", "the dog", "a tree", "the sky", "a car"))
QUESTIONS = [Question(f"<image>{prompt.text}") for prompt in PROMPTS]


@dataclass
class Glutton:
    """The tiny model on a device that has room for so many questions about so many pixels."""

    room: int
    tiny: TinyAnnotator = field(default_factory=TinyAnnotator)
    sizes: list[int] = field(default_factory=list)  # images of each batch that fitted

    def answer_image(self, image, questions):
        return self.answer_images([(image, questions)])[0]

    def answer_images(self, asked):
        need = sum(image[..., 0].size * len(questions) for image, questions in asked)
        if need > self.room:
            raise torch.OutOfMemoryError(f"tried to allocate {need}")
        self.sizes.append(len(asked))
        return [self.tiny.answer_image(image, questions) for image, questions in asked]

    def answer_video(self, frames, questions, options, num_frames):
        spoken = self.tiny.answer_video(frames, questions, options, num_frames)
        return HungryVideo(self.room, spoken)


@dataclass
class HungryVideo:
    """Runs out of memory in the middle, when masks have gone out already."""

    room: int
    spoken: object

    @property
    def answers(self):
        return self.spoken.answers

    def __iter__(self):
        for masks in self.spoken:
            if masks.frame_idx == 2 and masks.masks.size > self.room:
                raise torch.OutOfMemoryError("no room for a frame")
            yield masks


@dataclass(frozen=True)
class GluttonSource:
    room: int
    eaters: list = field(default_factory=list)

    def prepare(self):
        return "glutton-1", self.load

    def load(self, device):
        self.eaters.append(Glutton(self.room))
        return self.eaters[-1]


def image(side=10):
    return np.random.default_rng(side).integers(0, 255, (side, side, 3), np.uint8)


def texts_and_masks(outcome):
    return [(one.text, one.frames[0].masks.tolist()) for one in outcome]


@pytest.mark.parametrize("room", [100, 250, 500, 900, 1500, 10**6])
def test_results_do_not_hang_on_how_much_fits(room):
    glutton, batch = Glutton(room), [(image(), QUESTIONS)] * 7
    outcomes = Sparing(glutton).answer(batch)
    expected = texts_and_masks(TinyAnnotator().answer_image(*batch[0]))
    assert [texts_and_masks(outcome) for outcome in outcomes] == [expected] * 7
    assert glutton.sizes and isinstance(glutton, BatchAnnotator)


def test_a_batch_is_halved_and_the_next_one_knows():
    glutton = Glutton(room=1100)
    sparing = Sparing(glutton)
    sparing.answer([(image(), QUESTIONS)] * 8)
    assert glutton.sizes == [2] * 4
    sparing.answer([(image(), QUESTIONS)] * 8)
    assert glutton.sizes == [2] * 8


def test_after_a_while_that_goes_well_more_are_tried_again():
    """What did not fit may have been a few large pictures."""
    glutton = Glutton(room=1100)
    sparing = Sparing(glutton)
    sparing.answer([(image(), QUESTIONS)] * 8)
    glutton.room *= 4
    for _ in range(out_of_memory.PATIENCE):
        sparing.answer([(image(), QUESTIONS)] * 8)
    assert glutton.sizes[-1] == 8 and set(glutton.sizes) == {2, 4, 8}
    glutton.room //= 4
    sparing.answer([(image(), QUESTIONS)] * 8)
    assert glutton.sizes[-4:] == [2] * 4


def test_what_is_too_large_alone_fails_alone():
    batch = [(image(), QUESTIONS), (image(40), QUESTIONS), (image(), QUESTIONS)]
    small, large, last = Sparing(Glutton(room=600)).answer(batch)
    assert isinstance(large, TooLarge) and "tried to allocate 1600" in large.reason
    assert texts_and_masks(small) == texts_and_masks(last)


@pytest.mark.parametrize(
    ("message", "lacks_memory"),
    [
        ("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported", True),
        ("CUDA driver error: out of memory", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", True),
        ('NVML_SUCCESS == r INTERNAL ASSERT FAILED at "CUDACachingAllocator.cpp":1131', True),
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory", True),
        ("GET was unable to find an engine to execute this computation", True),
        ("Triton Error [CUDA]: out of memory", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("CUDA error: unspecified launch failure", False),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`", False),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", False),
    ],
)
def test_lack_of_memory_is_known_by_many_names(message, lacks_memory):
    """As CUDA's libraries say it: half of these come as a plain RuntimeError."""
    assert is_out_of_memory(RuntimeError(message)) == lacks_memory
    assert is_out_of_memory(torch.AcceleratorError(message)) == lacks_memory


def test_other_errors_are_not_taken_for_it():
    class Broken(Glutton):
        def answer_images(self, asked):
            raise RuntimeError("device-side assert triggered")

    with pytest.raises(RuntimeError, match="assert"):
        Sparing(Broken(1)).answer([(image(), QUESTIONS)])


@pytest.mark.parametrize("batch_size", ["1", "3", "8"])
def test_a_job_goes_on_with_less_and_only_what_is_too_large_fails(tmp_path, batch_size):
    write_pictures(tmp_path / "in", 9)
    write_pictures(tmp_path / "in" / "large", 1, size=64)
    options = {"runner": "local", "devices": "cpu", "prompts": PROMPTS, "batch_size": batch_size}
    state = run_job(job(tmp_path, **options), GluttonSource(room=700))
    assert (state.done, state.failed) == (9, 1)
    *items, failure = results(tmp_path / "out")
    assert failure.item_id.startswith("large") and "Out of memory" in failure.reason
    assert all(len(item.answers) == 5 and len(masks) == 5 for item, masks in items)
    assert [mask.obj_id for mask in items[0][1]] == [1, 2, 3, 4, 5]


def test_a_video_that_runs_out_of_memory_is_done_in_turns(tmp_path):
    write_pictures(tmp_path / "in" / "clip", 6)
    options = {
        "runner": "local", "devices": "cpu", "prompts": PROMPTS, "frames_as_video": True,
    }  # fmt: skip
    pixels = 16 * 20
    run_job(job(tmp_path, **options), GluttonSource(room=2 * pixels))
    sparing = results(tmp_path / "out")
    run_job(job(tmp_path, **options, output=tmp_path / "plenty"), GluttonSource(room=10**6))
    assert sparing == results(tmp_path / "plenty")
    assert len(sparing[0][1]) == 6 * 5
    state = run_job(job(tmp_path, **options, output=tmp_path / "none"), GluttonSource(pixels - 1))
    assert (state.done, state.failed) == (0, 1)
    assert "no room for a frame" in results(tmp_path / "none")[0].reason


def test_images_that_are_open_already_go_together(tmp_path):
    write_pictures(tmp_path / "in", 30)
    source = GluttonSource(room=10**9)
    options = {"runner": "local", "devices": "cpu", "prompts": PROMPTS, "batch_size": "4"}
    run_job(job(tmp_path, **options), source)
    sizes = source.eaters[0].sizes
    assert sum(sizes) == 30 and 1 <= max(sizes) <= 4
