"""Draws a folder of example images and videos, with prompts for them and the true masks.

    python -m sa2va_cli.demo.draw demo-input

Everything is held out from training. `manifest.jsonl` lists the files with their prompts, as
`sa2va annotate --manifest` reads it; `truth.json` has, for each prompt, the mask in every frame.
"""

import argparse
import json
import random
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from sa2va_cli.demo.evaluate import occlusions
from sa2va_cli.demo.questions import ask
from sa2va_cli.demo.scenes import HELD_OUT_SEED, Scene, make_scene
from sa2va_cli.demo.script import run_script, writable_folder
from sa2va_cli.masks import Rle, encode_rle

FIRST_SEED = HELD_OUT_SEED + 10**6  # other pictures than those of the evaluation
FRAMES_PER_SECOND = 8
VIDEO_SCALE = 2  # players and encoders like even sides, and viewers larger ones


@dataclass(frozen=True, slots=True)
class Example:
    """A file and what to ask about it."""

    path: str  # within the folder
    prompts: dict[str, list[Rle]]  # the mask of each frame; empty masks where it is not there


def draw_folder(folder: Path, images: int = 12, videos: int = 2) -> list[Example]:
    """Write the pictures, the videos, the manifest and the truth. Raises UsageError."""
    for name in ("images", "videos"):
        writable_folder(folder / name)
    examples = [_draw_image(folder, number) for number in range(1, images + 1)]
    examples += [
        _draw_video(folder, number, clip.frames, clip.masks[:, index], phrase)
        for number, (clip, index, phrase) in enumerate(occlusions(videos), start=1)
    ]
    lines = [
        json.dumps({"path": one.path, "prompts": list(one.prompts)}) + "\n" for one in examples
    ]
    (folder / "manifest.jsonl").write_text("".join(lines), encoding="utf-8")
    truth = {one.path: one.prompts for one in examples}
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return examples


def _draw_image(folder: Path, number: int) -> Example:
    scene = make_scene(FIRST_SEED + number)
    path = f"images/{number:02d}.png"
    Image.fromarray(scene.image).save(folder / path)
    return Example(path, _prompts(scene, random.Random(number)))


def _prompts(scene: Scene, rng: random.Random) -> dict[str, list[Rle]]:
    """Things by their attributes, by their place and by their number, and one that is not there."""
    prompts = {}
    for kind in ("attribute", rng.choice(("relation", "superlative")), "plural", "absent"):
        exchange = ask(rng, kind, scene.facts)
        if exchange is not None:
            things = [index for target in exchange.targets for index in target]
            prompts[exchange.phrase] = [encode_rle(scene.union(things))]
    return prompts


def _draw_video(
    folder: Path, number: int, frames: np.ndarray, masks: np.ndarray, phrase: str
) -> Example:
    path = f"videos/{number:02d}.mp4"
    enlarged = frames.repeat(VIDEO_SCALE, axis=1).repeat(VIDEO_SCALE, axis=2)
    write_video(folder / path, enlarged)
    large = masks.repeat(VIDEO_SCALE, axis=1).repeat(VIDEO_SCALE, axis=2)
    return Example(path, {f"the {phrase}": [encode_rle(mask) for mask in large]})


def write_video(path: Path, frames: np.ndarray) -> None:
    """(T, H, W, 3) uint8, sides even, to an mp4 that every player opens."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FRAMES_PER_SECOND))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    examples = draw_folder(options.folder)
    sys.stdout.write(f"drew {len(examples)} files into {options.folder}\n")


if __name__ == "__main__":
    run_script(main)
