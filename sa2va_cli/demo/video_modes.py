"""How windows and key frames change the masks of held-out videos of the demo world.

python -m sa2va_cli.demo.video_modes --videos 50
"""

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from sa2va_cli.demo.evaluate import occlusions
from sa2va_cli.demo.motion import PROMPTED, Clip, make_clip
from sa2va_cli.demo.phrases import noun, unique_description
from sa2va_cli.demo.scenes import HELD_OUT_SEED
from sa2va_cli.demo.scores import Scores
from sa2va_cli.demo.script import run_script
from sa2va_cli.masks import mask_iou
from sa2va_cli.models.sa2va.predictor import Sa2VA
from sa2va_cli.results import Answer, Question, TrackedMasks, VideoOptions

LONG = (56, 64)  # frames
MIN_SEEN = 0.3  # part of the frames that a thing is in which enters late
MODES: dict[str, dict[str, VideoOptions]] = {
    "hides and comes back, 24-30 frames": {
        "once": VideoOptions(),
        "windows of 12": VideoOptions(window=12),
    },
    "long, 56-64 frames": {
        "once": VideoOptions(),
        "windows of 20": VideoOptions(window=20),
    },
    "enters late, 24-30 frames": {
        "first": VideoOptions(),
        "uniform": VideoOptions(key_sampling="uniform"),
        "windows of 12": VideoOptions(window=12),
    },
}


@dataclass(frozen=True, slots=True)
class Case:
    """A thing to follow through a video."""

    frames: np.ndarray  # (T, H, W, 3)
    masks: np.ndarray  # (T, H, W) bool
    phrase: str


class ClipFootage:
    """See results.Footage."""

    def __init__(self, frames: np.ndarray) -> None:
        self._frames = frames

    @property
    def sampled(self) -> Sequence[int]:
        return range(len(self._frames))

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, first: int) -> Iterator[tuple[int, np.ndarray]]:
        return ((at, self._frames[at]) for at in range(first, len(self._frames)))


def hiding(count: int) -> Iterator[Case]:
    """The videos of the model card."""
    for clip, index, phrase in occlusions(count):
        yield Case(clip.frames, clip.masks[:, index], phrase)


def long_ones(count: int) -> Iterator[Case]:
    """Anything that is in view at the beginning, whatever it does then."""
    seed = HELD_OUT_SEED
    while count:
        rng = random.Random(f"long video {seed}")
        clip = make_clip(seed, rng.randint(*LONG))
        seed += 1
        if phrase := _phrase(rng, clip, clip.in_view[0]):
            yield Case(clip.frames, clip.masks[:, clip.in_view[0]], phrase)
            count -= 1


def entering_late(count: int) -> Iterator[Case]:
    """Videos in which a thing leaves, shown backwards."""
    seed = HELD_OUT_SEED
    while count:
        rng = random.Random(f"late video {seed}")
        clip = make_clip(seed, rng.randint(24, 30), hurry=1.5)
        seed += 1
        seen = np.asarray(clip.masks.any(axis=(2, 3)))  # (T, N)
        for index in clip.in_view:
            gone = not seen[-PROMPTED:, index].any()
            if gone and seen[:, index].mean() > MIN_SEEN and (phrase := _phrase(rng, clip, index)):
                yield Case(clip.frames[::-1], clip.masks[::-1, index], phrase)
                count -= 1
                break


CLIPS = dict(zip(MODES, (hiding, long_ones, entering_late), strict=True))


def _phrase(rng: random.Random, clip: Clip, index: int) -> str:
    """Empty if there is no saying which thing is meant."""
    description = unique_description(rng, clip.facts, index)
    return noun(rng, description) if description else ""


def follow(model: Sa2VA, case: Case, options: VideoOptions) -> list[np.ndarray]:
    """(H, W) bool for each frame: all that the prompt found in it."""
    question = Question(f"<image>\nPlease segment the {case.phrase}.")
    story = model.answer_windows(ClipFootage(case.frames), [question], options, _names)
    frames = [event.masks.masks for event in story if isinstance(event, TrackedMasks)]
    return [np.asarray(masks.any(axis=0)) for masks in frames]


def _names(answers: Sequence[Answer]) -> list[str]:
    return ["thing" for answer in answers for _ in answer.seg_probabilities]


def score(model: Sa2VA, kind: str, count: int) -> Scores:
    """J of each frame, by mode: the same videos for each."""
    scores = Scores()
    for case in tqdm(CLIPS[kind](count), total=count, desc=kind, disable=None):
        for mode, options in MODES[kind].items():
            drawn = follow(model, case, options)
            ious = [mask_iou(ours, truth) for ours, truth in zip(drawn, case.masks, strict=True)]
            scores.add(mode, *ious)
            seen = [iou for iou, truth in zip(ious, case.masks, strict=True) if truth.any()]
            scores.add(f"{mode}: seen", *seen)
    return scores


def table(kind: str, scores: Scores) -> str:
    lines = [f"| {kind} | J | J where it is to be seen | frames |", "|---|---|---|---|"]
    for mode in MODES[kind]:
        seen = scores.mean(f"{mode}: seen")
        lines.append(f"| {mode} | {scores.mean(mode):.3f} | {seen:.3f} | {scores.count(mode)} |")
    return "\n".join(lines) + "\n\n"


def main() -> None:
    """Parse the command line, score, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--checkpoint", default="demo", help="`demo`, a folder or a hub name")
    parser.add_argument("--videos", type=int, default=50, help="of each kind")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = Sa2VA.from_pretrained(options.checkpoint, device=options.device, dtype="float32")
    for kind in MODES:
        sys.stdout.write(table(kind, score(model, kind, options.videos)))
        sys.stdout.flush()


if __name__ == "__main__":
    run_script(main)
