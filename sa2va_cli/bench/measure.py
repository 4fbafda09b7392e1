"""Fast and plain engine on the same work, in turns, in one run."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Protocol

import torch
from PIL import Image

from sa2va_cli.bench.arithmetic import Arithmetic
from sa2va_cli.bench.machine import Machine, forget_peak, gpu_busy_share, peak_gb, synchronise
from sa2va_cli.bench.stages import Pass, StageClock
from sa2va_cli.bench.work import SEVERAL, Ready, Work, make_ready
from sa2va_cli.models.sa2va.model import Sa2vaModel
from sa2va_cli.models.sa2va.predictor import Sa2VA
from sa2va_cli.models.sa2va.video import VideoAnswers
from sa2va_cli.prefetch import prefetch_batches
from sa2va_cli.results import Prediction, Question

WARM_UPS = 3  # of the fast engine on a GPU: what comes for the third time is recorded
ELSE = "everything else"  # pixels in, masks out, and Python


class Engine(Protocol):
    """`Sa2VA` or `PlainEngine`."""

    model: Sa2vaModel

    def answer_image(
        self, image: Image.Image, questions: Sequence[Question]
    ) -> list[Prediction]: ...

    def answer_images(
        self, asked: Sequence[tuple[Any, Sequence[Question]]]
    ) -> list[list[Prediction]]: ...

    def answer_video(
        self, frames: Sequence[Image.Image], questions: Sequence[Question]
    ) -> VideoAnswers: ...


@dataclass(frozen=True, slots=True)
class StageTime:
    """One stage in one run of a work."""

    stage: str
    seconds: float
    passes: int
    tflop: float
    gigabytes: float
    floor_seconds: float  # by the machine's measured limits


@dataclass(frozen=True, slots=True)
class Measurement:
    """One engine on one work."""

    work: str
    title: str
    engine: str
    seconds: tuple[float, ...]  # of each repetition
    processor_seconds: tuple[float, ...]  # of all threads: what is left of a shared machine
    per_second: float  # images, or frames, by the median
    masks: int
    ceiling_share: float  # of the time, what matrix products of so many operations would take
    busy_share: float
    peak_gb: float
    floor_seconds: float
    stages: tuple[StageTime, ...]  # of the repetition nearest to the median

    @property
    def median_seconds(self) -> float:
        return median(self.seconds)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one work took."""

    measurements: tuple[Measurement, ...]
    ratio: float | None  # plain over fast: the median over the pairs; None with one engine
    processor_ratio: float | None  # the same of the processor's time; only where it computes

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class _Run:
    seconds: float
    processor: float  # seconds, of all threads
    peak_gb: float
    masks: int
    passes: list[Pass]


class Bench:
    """Engines by name, on one device; the first is warmed up and measured first."""

    def __init__(
        self,
        engines: dict[str, Callable[[Work], Engine]],
        machine: Machine,
        device: torch.device,
        at_once: int = 1,
        openers: int = 1,
    ) -> None:
        """An engine is made for each work: what is forced to be answered hangs on it.

        `at_once` images go to it at a time, where a work has several, `openers` threads ahead.
        """
        self._engines = engines
        self._machine = machine
        self._device = device
        self._at_once = at_once
        self._openers = openers
        self._arithmetic: Arithmetic | None = None
        self.stopped_by: SystemExit | None = None  # a signal, in the middle of a work

    def compare(self, work: Work, repeat: int, frames: int) -> Comparison:
        """Each engine `repeat` times, in turns; fewer if a signal comes, but once at least."""
        ready = make_ready(work, frames)
        engines = self._make_engines(work)
        for engine in engines.values():
            # Libraries warm up, and the fast engine learns what this model usually says.
            records = isinstance(engine, Sa2VA) and self._device.type == "cuda"
            for _ in range(WARM_UPS if records else 1):
                self._answer(engine, ready.on_one_tile(engine.model.config.vision.image_size))
        turns = self._turns(engines, ready, repeat)
        measurements = tuple(
            self._measurement(name, engine, ready, [turn[name] for turn in turns])
            for name, engine in engines.items()
        )
        on_processor = self._device.type == "cpu"
        return Comparison(
            measurements,
            _ratio([one.seconds for one in measurements]),
            _ratio([one.processor_seconds for one in measurements]) if on_processor else None,
        )

    def _make_engines(self, work: Work) -> dict[str, Engine]:
        return {name: make(work) for name, make in self._engines.items()}

    def _turns(
        self, engines: dict[str, Engine], ready: Ready, repeat: int
    ) -> list[dict[str, _Run]]:
        """One run of each engine in each. Raises SystemExit for a signal in the first."""
        turns: list[dict[str, _Run]] = []
        try:
            for _ in range(repeat):
                if ready.work.kind == "caption":  # none comes twice: only others may be known
                    engines = self._make_engines(ready.work)
                turns.append({name: self._run(engine, ready) for name, engine in engines.items()})
        except SystemExit as signal:  # so Ctrl-C comes: jobs.stop
            if not turns:
                raise
            self.stopped_by = signal
        return turns

    def _run(self, engine: Engine, ready: Ready) -> _Run:
        if self._arithmetic is None:
            self._arithmetic = Arithmetic(engine.model.config)
        clock = StageClock(engine.model, self._arithmetic)
        forget_peak(self._device)
        synchronise(self._device)
        with clock.watching():
            used, started = time.process_time(), time.perf_counter()
            masks = self._answer(engine, ready)
            synchronise(self._device)
            seconds = time.perf_counter() - started
            processor = time.process_time() - used
        return _Run(seconds, processor, peak_gb(self._device), masks, clock.passes())

    def _measurement(
        self, name: str, engine: Engine, ready: Ready, runs: list[_Run]
    ) -> Measurement:
        typical = sorted(runs, key=lambda run: run.seconds)[(len(runs) - 1) // 2]
        stages = self._stages(typical)
        middle = median(run.seconds for run in runs)
        computing = sum(self._machine.computing(one.flops, one.dtype) for one in typical.passes)
        return Measurement(
            work=ready.work.name,
            title=ready.work.title(len(ready.pictures)),
            engine=name,
            seconds=tuple(run.seconds for run in runs),
            processor_seconds=tuple(run.processor for run in runs),
            per_second=len(ready.pictures) / middle,
            masks=typical.masks,
            ceiling_share=computing / typical.seconds,
            busy_share=self._busy_share(name, engine, ready, typical),
            peak_gb=max(run.peak_gb for run in runs),
            floor_seconds=sum(stage.floor_seconds for stage in stages),
            stages=tuple(stages),
        )

    def _stages(self, run: _Run) -> list[StageTime]:
        names = dict.fromkeys(one.stage for one in run.passes)
        stages = [self._stage(name, [p for p in run.passes if p.stage == name]) for name in names]
        rest = run.seconds - sum(stage.seconds for stage in stages)
        return [*stages, StageTime(ELSE, rest, 0, 0.0, 0.0, 0.0)]

    def _stage(self, name: str, passes: list[Pass]) -> StageTime:
        return StageTime(
            stage=name,
            seconds=sum(one.seconds for one in passes),
            passes=len(passes),
            tflop=sum(one.flops for one in passes) / 1e12,
            gigabytes=sum(one.bytes_read for one in passes) / 1e9,
            floor_seconds=sum(
                self._machine.floor(one.flops, one.bytes_read, one.dtype) for one in passes
            ),
        )

    def _busy_share(self, name: str, engine: Engine, ready: Ready, run: _Run) -> float:
        if self._device.type == "cuda":
            if ready.work.kind == "caption":  # this one has learned it by now
                engine = self._engines[name](ready.work)
            return gpu_busy_share(lambda: self._answer(engine, ready), self._device)
        # Threads that resize pictures ahead of the model are not among its own.
        return min(1.0, run.processor / run.seconds / self._machine.threads)

    def _answer(self, engine: Engine, ready: Ready) -> int:
        """Do the work; returns the number of masks, of each frame of a video."""
        if ready.work.kind == "video":
            stream = engine.answer_video(ready.pictures, ready.questions)
            return max((len(frame.masks) for frame in stream), default=0)
        if ready.work.kind in SEVERAL:
            batches: Iterable[Sequence[Any]] = [ready.pictures]
            if ready.work.kind == "images" and isinstance(engine, Sa2VA):
                batches = self._prepared(engine, ready.pictures)
            answers = (
                engine.answer_images([(picture, ready.questions) for picture in batch])
                for batch in batches
            )
            predictions = [one for some in answers for image in some for one in image]
        else:
            predictions = engine.answer_image(ready.pictures[0], ready.questions)
        return sum(len(frame.masks) for one in predictions for frame in one.frames)

    def _prepared(self, engine: Sa2VA, pictures: Sequence[Image.Image]) -> Iterator[Sequence[Any]]:
        """As `sa2va annotate` has them: resized ahead of the model, and a few at a time."""
        return prefetch_batches(
            pictures, engine.prepare, lambda _: True, self._at_once, self._openers
        )


def _ratio(times: Sequence[tuple[float, ...]]) -> float | None:
    """The second engine's times over the first one's, pair by pair."""
    if len(times) != 2:
        return None
    return median(slow / fast for fast, slow in zip(*times, strict=True))
