"""Trains the demo model from nothing, stage by stage; stopped at any time, it goes on later.

    python -m sa2va_cli.demo.train --state demo-state

Everything a stage knows is in `<state>/<stage>.pt`; `<state>/log.jsonl` holds the curve.
"""

import argparse
import json
import math
import multiprocessing
import os
import pickle
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn
from torch.utils.data import DataLoader, Dataset

from sa2va_cli.demo.build import fresh_model
from sa2va_cli.demo.following import Track
from sa2va_cli.demo.learner import Learner, Measures, Stage
from sa2va_cli.demo.optimiser import Optimisers
from sa2va_cli.demo.recalling import Recall
from sa2va_cli.demo.script import above_zero, at_least, run_script, writable_folder
from sa2va_cli.demo.seeing import Look, Teach, Trace
from sa2va_cli.demo.speaking import Ground, Refine, Speak
from sa2va_cli.errors import UsageError
from sa2va_cli.glibc import keep_memory
from sa2va_cli.models.sa2va.checkpoint import Placement, load_model
from sa2va_cli.models.sa2va.config import load_config
from sa2va_cli.models.sa2va.device import choose_device

STAGES: dict[str, type[Stage]] = {
    stage.name: stage for stage in (Look, Trace, Teach, Speak, Ground, Refine, Recall, Track)
}
FROM_NOTHING = [name for name in STAGES if name not in (Teach.name, Refine.name)]
WARM_UP = 30  # steps
COOL_DOWN = 0.5  # the last part of a stage, in which the rate falls
SAVE_SECONDS = 60
STATE_KEYS = {"learner", "optimisers", "step", "pictures", "seconds"}
SHOWN = 400  # the curve shows means over so many questions or masks


@dataclass(frozen=True, slots=True)
class Run:
    """How to train, apart from what."""

    state: Path
    stages: tuple[str, ...]
    workers: int  # training processes on CPUs, one thread each
    scale: float  # of every stage's number of pictures
    minutes: float | None  # a stage is over after this time even if pictures are left
    device: str
    loaders: int  # processes that draw pictures, 0 to draw in the training process
    warm_start: Path | None = None  # a checkpoint folder to begin from


def progress(run: Run, stage: Stage, pictures: int, seconds: float) -> float:
    """How much of a stage these are; from 1 on it is over."""
    part = pictures / (stage.pictures * run.scale)
    return part if run.minutes is None else max(part, seconds / 60 / run.minutes)


class Steps(Dataset[Any]):
    """The batches of one worker, from picture number `first` on."""

    def __init__(self, stage: Stage, first: int, worker: int, workers: int) -> None:
        self.stage, self.first, self.worker, self.workers = stage, first, worker, workers

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, step: int) -> Any:
        start = self.first + (step * self.workers + self.worker) * self.stage.batch
        return self.stage.prepare(range(start, start + self.stage.batch))


def parent_lives() -> bool:
    """Workers of a killed parent must not go on in secret."""
    parent = multiprocessing.parent_process()
    return parent is None or parent.is_alive()


def rate_factor(step: int, progress: float, coolest: float) -> float:
    """Warm up, stay, then cool down along a cosine; a longer run only stays longer."""
    down = max(0.0, progress - (1 - COOL_DOWN)) / COOL_DOWN
    cooled = coolest + (1 - coolest) * 0.5 * (1 + math.cos(math.pi * min(1.0, down)))
    return min(1.0, (step + 1) / WARM_UP) * cooled


class StageRun:
    """One stage in one training process."""

    def __init__(self, run: Run, stage: Stage, worker: int) -> None:
        self.run, self.stage, self.worker = run, stage, worker
        self.learner = Learner(fresh_model())
        self.path = run.state / f"{stage.name}.pt"
        self._begin()
        names = list(STAGES)
        load_stages(self.learner, run.state, names[: names.index(stage.name) + 1])
        self.learner.to(run.device)
        self.learner.requires_grad_(False)
        groups = stage.groups(self.learner)
        for named, _ in groups:
            for _, parameter in named:
                parameter.requires_grad_(True)
        self.optimisers = Optimisers(groups)
        self.step, self.pictures, self.seconds = 0, 0, 0.0
        if self.path.exists():
            saved = load_state(self.path)  # what belongs to weights follows them to their device
            self.optimisers.load_state_dict(saved["optimisers"])
            self.step, self.seconds = saved["step"], saved["seconds"]
            self.pictures = saved["pictures"]

    def _begin(self) -> None:
        """What no stage has trained is as it was when training began, perhaps from a checkpoint:
        every state that was saved since then holds it."""
        before = [self.run.state / f"{name}.pt" for name in STAGES]
        saved = [path for path in before if path.exists()]
        if self.path.exists():
            load_model_of(self.learner, self.path)
        elif self.run.warm_start is not None:
            self.learner.model.load_state_dict(shipped_weights(self.run.warm_start))
        elif saved:
            load_model_of(self.learner, saved[-1])

    def progress(self) -> float:
        return progress(self.run, self.stage, self.pictures, self.seconds)

    def train(self, steps: int | None = None) -> None:
        """To the end of the stage, or `steps` further steps."""
        last = None if steps is None else self.step + steps
        log = Log(self.run.state / "log.jsonl", self.stage.name)
        saved = time.monotonic()
        progress = self._agreed_progress()
        batches = self._batches()
        while progress < 1 and self.step != last and parent_lives():
            began = time.monotonic()
            factor = rate_factor(self.step, progress, self.stage.coolest)
            self._step(next(batches), log, factor)
            self.step += 1
            self.pictures += self.stage.batch * self.run.workers
            self.seconds += time.monotonic() - began
            progress = self._agreed_progress()
            over = progress >= 1 or self.step == last
            if self.worker == 0 and (time.monotonic() - saved > SAVE_SECONDS or over):
                self.save()
                log.write(self.step, self.pictures, self.seconds, progress)
                saved = time.monotonic()

    def _batches(self) -> Iterator[Any]:
        steps = Steps(self.stage, self.pictures, self.worker, self.run.workers)
        return iter(DataLoader(steps, batch_size=None, num_workers=self.run.loaders))

    def _step(self, batch: Any, log: "Log", factor: float) -> None:
        loss, measures = self.stage.loss(self.learner, to_device(batch, self.run.device))
        self.optimisers.zero_grad()
        loss.backward()
        self._share_gradients()
        self.optimisers.step(factor)
        log.add(loss.item(), measures)

    def _share_gradients(self) -> None:
        """Every worker steps along the mean gradient, so their weights stay the same."""
        parameters = self.optimisers.parameters
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.run.workers == 1:
            return
        flat = torch.cat([parameter.grad.flatten() for parameter in parameters])
        dist.all_reduce(flat)
        flat /= self.run.workers
        start = 0
        for parameter in parameters:
            part = flat[start : start + parameter.numel()]
            parameter.grad.copy_(part.view_as(parameter))
            start += parameter.numel()

    def _agreed_progress(self) -> float:
        """Worker 0's, so that all workers stop at the same step."""
        progress = torch.tensor([self.progress()], dtype=torch.float64)
        if self.run.workers > 1:
            dist.broadcast(progress, 0)
        return float(progress)

    def save(self) -> None:
        """Written beside and renamed: a kill leaves the state of a minute ago."""
        beside = self.path.with_suffix(".part")
        state = {
            "learner": self.learner.state_dict(),
            "optimisers": self.optimisers.state_dict(),
            "step": self.step,
            "pictures": self.pictures,
            "seconds": self.seconds,
        }
        torch.save(state, beside)
        beside.rename(self.path)


class Log:
    """The curve: one JSON line a minute, and the same for people on stderr."""

    def __init__(self, path: Path, stage: str) -> None:
        self.path, self.stage = path, stage
        self.losses: list[float] = []
        self.measures: Measures = {}

    def add(self, loss: float, measures: Measures) -> None:
        self.losses.append(loss)
        for name, values in measures.items():
            kept = self.measures.setdefault(name, [])
            kept += values
            del kept[:-SHOWN]

    def write(self, step: int, pictures: int, seconds: float, progress: float) -> None:
        means = {
            name: round(sum(values) / len(values), 3)
            for name, values in sorted(self.measures.items())
            if values
        }
        recent = self.losses[-50:]
        row = {
            "stage": self.stage,
            "step": step,
            "pictures": pictures,
            "seconds": round(seconds),
            "loss": round(sum(recent) / len(recent), 4),
            **means,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        shown = "  ".join(f"{name} {value:.2f}" for name, value in means.items())
        sys.stderr.write(
            f"{self.stage} {progress:4.0%}  {pictures} pictures  {pictures / seconds:.1f}/s  "
            f"loss {row['loss']:.3f}  {shown}\n"
        )
        sys.stderr.flush()


def load_state(path: Path) -> dict[str, Any]:
    """What a stage saved; no code in it is run. Raises UsageError for any other file."""
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        known = isinstance(saved, dict) and saved.keys() >= STATE_KEYS
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise _no_state(path) from error
    if not known:
        raise _no_state(path)
    return cast(dict[str, Any], saved)


def _no_state(path: Path) -> UsageError:
    return UsageError(
        f"{path} is damaged, or no state of training.",
        hint="put back a copy, or delete it: the stage then begins anew",
    )


def load_model_of(learner: Learner, path: Path) -> None:
    """The whole model as this stage last saved it, without the heads that taught it."""
    weights, prefix = load_state(path)["learner"], "model."
    own = {key.removeprefix(prefix): weights[key] for key in weights if key.startswith(prefix)}
    learner.model.load_state_dict(own)


def load_stages(learner: Learner, state: Path, names: list[str]) -> None:
    """Take from each of these stages, in order, the weights that it trained, as far as it got."""
    for name in names:
        path = state / f"{name}.pt"
        if not path.exists():
            continue
        weights = load_state(path)["learner"]
        moved = {id(p) for named, _ in STAGES[name]().groups(learner) for _, p in named}
        taken = {key for key, p in learner.named_parameters() if id(p) in moved}
        if any(key.startswith("model.segmenter.") for key in taken):
            taken.add("model.segmenter.prompt_tokens.position_matrix")  # random, never trained
        learner.load_state_dict({key: weights[key] for key in taken}, strict=False)
        learner.has_teacher = learner.has_teacher or name in (Trace.name, Teach.name)


def shipped_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint in the published layout, under our names."""
    placement = Placement(torch.device("cpu"), torch.float32)
    return load_model(folder, load_config(folder), placement).state_dict()


def to_device(value: Any, device: str) -> Any:
    """A batch, however nested, on another device."""
    if device == "cpu":
        return value
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, list | tuple):
        return type(value)(to_device(part, device) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {
            field.name: to_device(getattr(value, field.name), device) for field in fields(value)
        }
        return type(value)(**parts)
    return value


def is_over(run: Run, name: str) -> bool:
    """Whether a stage has seen enough, or for long enough."""
    path = run.state / f"{name}.pt"
    if not path.exists():
        return False
    saved = load_state(path)
    return progress(run, STAGES[name](), saved["pictures"], saved["seconds"]) >= 1


def work(worker: int, run: Run) -> None:
    """A training process: every stage that is not over yet."""
    if run.device == "cpu":
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
    if run.workers > 1:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{rendezvous(run, os.getppid()).resolve()}",
            rank=worker,
            world_size=run.workers,
        )
    for name in run.stages:
        if is_over(run, name):
            continue
        if worker == 0:
            sys.stderr.write(f"{name}: first news in about a minute\n")
        StageRun(run, STAGES[name](), worker).train()
        if run.workers > 1:
            dist.barrier()


def rendezvous(run: Run, parent: int) -> Path:
    """Where the processes of one parent find each other."""
    return run.state / f"rendezvous-{parent}"


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--state", type=Path, default=Path("demo-state"), help="folder to go on from"
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=FROM_NOTHING)
    parser.add_argument(
        "--workers", type=at_least(1), default=os.cpu_count(), help="training processes (CPU)"
    )
    parser.add_argument("--scale", type=above_zero, default=1.0, help="of the number of pictures")
    parser.add_argument("--minutes", type=above_zero, help="for each stage at most")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--loaders", type=at_least(0), default=0, help="processes that draw pictures"
    )
    parser.add_argument(
        "--from-checkpoint", type=Path, help="begin with these weights; heads for training are new"
    )
    options = parser.parse_args()
    device = str(choose_device(options.device))
    if options.from_checkpoint is not None:
        load_config(options.from_checkpoint)
    writable_folder(options.state)
    workers = options.workers if device == "cpu" else 1
    run = Run(
        options.state,
        tuple(name for name in STAGES if name in options.stages),
        workers,
        options.scale,
        options.minutes,
        device,
        options.loaders,
        options.from_checkpoint,
    )
    left = [name for name in run.stages if not is_over(run, name)]
    if not left:
        sys.stderr.write("every stage is over: to train longer, raise --scale or --minutes\n")
    elif workers == 1:
        work(0, run)
    else:
        os.environ.update(keep_memory())
        # Of a killed run whose number we got, as in a container: nobody would be found there.
        rendezvous(run, os.getpid()).unlink(missing_ok=True)
        spawn(work, args=(run,), nprocs=workers)


if __name__ == "__main__":
    run_script(main)
