"""Measures how well presence tells what is there from what is not, on held-out pictures.

    python -m sa2va_cli.demo.presence FOLDER --images 300

Draws pictures with prompts for things that are there and things that are not, has `sa2va annotate
--presence ask` answer them, and compares: how often does a thing that is there get a higher number
than one that is not (the area under the ROC curve; 0.5 is guessing, 1 is perfect)?
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sa2va_cli.demo.draw import draw_folder
from sa2va_cli.demo.script import run_script
from sa2va_cli.masks import rle_area

Line = dict[str, Any]  # of answers.jsonl

NUMBERS: dict[str, Callable[[Line], float]] = {
    "`presence`: P(yes) of the question": lambda line: line["presence"],
    "`object_score` of the mask; 0 without one": lambda line: _highest(line, "object_score"),
    "`seg_probability`; 0 without a mask": lambda line: _highest(line, "seg_probability"),
    "`score` of the mask; 0 without one": lambda line: _highest(line, "score"),
    "whether the model drew anything": lambda line: float(bool(line["objects"])),
    "`presence`; 0 without a mask": lambda line: line["presence"] * bool(line["objects"]),
}


def area_under_curve(there: Sequence[float], absent: Sequence[float]) -> float:
    """How often a number of `there` is above one of `absent`; equal ones count half."""
    differences = np.subtract.outer(np.asarray(there), np.asarray(absent))
    return float(np.mean((differences > 0) + 0.5 * (differences == 0)))


def annotate(folder: Path, model: str, devices: str) -> list[Line]:
    """The answers of a job in `folder`, which goes on where it was stopped."""
    command = [sys.executable, "-m", "sa2va_cli.cli", "annotate", "--presence", "ask"]
    command += ["--manifest", str(folder / "input" / "manifest.jsonl"), "-o", str(folder / "job")]
    command += ["--model", model, "--devices", devices, "--format", "answers"]
    subprocess.run(command, check=True)
    text = (folder / "job" / "answers.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def table(lines: Sequence[Line], truth: dict[str, dict[str, list[Any]]]) -> str:
    """Each number and its area under the curve, as Markdown."""
    there = [_is_there(truth[line["item_id"]][line["prompt"]]) for line in lines]
    rows = [f"| number | AUC ({sum(there)} there, {len(there) - sum(there)} not) |", "|---|---|"]
    for name, number in NUMBERS.items():
        values = [number(line) for line in lines]
        present = [value for value, yes in zip(values, there, strict=True) if yes]
        absent = [value for value, yes in zip(values, there, strict=True) if not yes]
        rows.append(f"| {name} | {area_under_curve(present, absent):.3f} |")
    return "\n".join(rows)


def _is_there(masks: Sequence[Any]) -> bool:
    return any(rle_area(mask) for mask in masks)


def _highest(line: Line, name: str) -> float:
    return max((one[name] for one in line["objects"]), default=0.0)


def main() -> None:
    """Parse the command line, draw, annotate, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--model", default="demo", help="`demo`, or a folder of demo weights")
    parser.add_argument("--devices", default="cpu")
    options = parser.parse_args()
    if not (options.folder / "input" / "truth.json").exists():
        draw_folder(options.folder / "input", images=options.images, videos=0)
    lines = annotate(options.folder, options.model, options.devices)
    truth = json.loads((options.folder / "input" / "truth.json").read_text(encoding="utf-8"))
    sys.stdout.write(table(lines, truth) + "\n")


if __name__ == "__main__":
    run_script(main)
