"""Scores a checkpoint on pictures and videos of the demo world that training never saw.

python -m sa2va_cli.demo.evaluate --images 500 --videos 50
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from sa2va_cli.demo.following import hides
from sa2va_cli.demo.motion import Clip, make_clip
from sa2va_cli.demo.phrases import noun, unique_description
from sa2va_cli.demo.questions import Exchange, ask
from sa2va_cli.demo.scenes import HELD_OUT_SEED, Scene, make_scene
from sa2va_cli.demo.scores import Scores, score_exchange, score_video
from sa2va_cli.demo.script import at_least, run_script, writable_folder
from sa2va_cli.models.sa2va.predictor import Sa2VA
from sa2va_cli.results import Question

KINDS = [
    "attribute",
    "relation",
    "superlative",
    "plural",
    "several",
    "absent",
    "count",
    "exists",
    "has_color",
    "color",
    "shape",
    "caption",
    "region",
]
VIDEO_LENGTHS = (24, 30)
MOST_COUNTED = 6
# Score, goal, and whether more is better.
GOALS: tuple[tuple[str, float, bool], ...] = (
    ("attributes", 0.88, True),
    ("relations", 0.75, True),
    ("plurals and several", 0.82, True),
    ("absent refused", 0.95, True),
    ("falsely refused", 0.03, False),
    ("question", 0.95, True),
    ("count", 0.85, True),
    ("caption phrases", 0.85, True),
    ("region", 0.90, True),
    ("video J", 0.80, True),
    ("video J after occlusion", 0.65, True),
)


def exchanges_of(scene: Scene, seed: int) -> list[Exchange]:
    """One question of each kind that the picture offers."""
    rng = random.Random(f"questions {seed}")
    asked = [ask(rng, kind, scene.facts) for kind in KINDS]
    return [
        one for one in asked if one and not (one.kind == "count" and len(one.about) > MOST_COUNTED)
    ]


def score_images(model: Sa2VA, first: int, count: int, scores: Scores) -> None:
    """Pictures number `first`, `first + 1`, … of those held out."""
    for seed in tqdm(range(first, first + count), desc="images", disable=None):
        scene = make_scene(HELD_OUT_SEED + seed)
        exchanges = exchanges_of(scene, seed)
        answers = model.answer_image(
            scene.image, [question_of(scene, exchange) for exchange in exchanges]
        )
        for exchange, said in zip(exchanges, answers, strict=True):
            score_exchange(scores, scene, exchange, said)


def question_of(scene: Scene, exchange: Exchange) -> Question:
    regions = scene.masks[list(exchange.regions)] if exchange.regions else None
    return Question(f"<image>{exchange.question}", mask_prompts=regions)


def score_videos(model: Sa2VA, count: int, scores: Scores) -> None:
    """Videos in which the thing asked for disappears and comes back."""
    for clip, index, phrase in tqdm(occlusions(count), total=count, desc="videos", disable=None):
        question = Question(f"<image>\nPlease segment the {phrase}.")
        answers = model.answer_video(list(clip.frames), [question])
        score_video(scores, clip, index, list(answers))


def occlusions(count: int) -> Iterator[tuple[Clip, int, str]]:
    """The first `count` held-out videos with a thing that hides, and what it is called."""
    seed = HELD_OUT_SEED
    while count:
        rng = random.Random(f"video {seed}")
        clip = make_clip(seed, rng.randint(*VIDEO_LENGTHS))
        seed += 1
        for index in clip.in_view:
            description = unique_description(rng, clip.facts, index)
            if description is not None and hides(clip, (index,)):
                yield clip, index, noun(rng, description)
                count -= 1
                break


def table(scores: Scores) -> str:
    """Score, goal and number of cases, as Markdown."""
    lines = ["| task | score | goal | cases |", "|---|---|---|---|"]
    for task, goal, more in GOALS:
        if scores.count(task):
            sign = "≥" if more else "≤"
            lines.append(
                f"| {task} | {scores.mean(task):.3f} | {sign} {goal:.2f} | {scores.count(task)} |"
            )
    named = {task for task, _, _ in GOALS}
    for task in sorted(scores.values.keys() - named):
        lines.append(f"| {task} | {scores.mean(task):.3f} | | {scores.count(task)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, score, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--checkpoint", default="demo", help="`demo`, a folder or a hub name")
    parser.add_argument("--images", type=at_least(0), default=500)
    parser.add_argument("--videos", type=at_least(0), default=50)
    parser.add_argument(
        "--first", type=at_least(0), default=0, help="number of the first held-out image"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=at_least(1), help="CPU threads (default: all)")
    parser.add_argument("--json", type=Path, help="also write the scores to this file")
    options = parser.parse_args()
    if options.json:
        writable_folder(options.json.parent)
    if options.threads:
        torch.set_num_threads(options.threads)
    model = Sa2VA.from_pretrained(options.checkpoint, device=options.device, dtype="float32")
    scores = Scores()
    score_images(model, options.first, options.images, scores)
    score_videos(model, options.videos, scores)
    sys.stdout.write(table(scores) + "\n")
    if options.json:
        means = {task: round(scores.mean(task), 4) for task in sorted(scores.values)}
        options.json.write_text(json.dumps(means, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_script(main)
