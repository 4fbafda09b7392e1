"""A bench's figures as text of 80 columns, and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sa2va_cli.bench.machine import Machine
from sa2va_cli.bench.measure import Comparison, Measurement

HEAD = f"{'engine':<8}{'seconds':>10}{'a second':>19}{'ceiling':>9}{'busy':>7}{'memory':>10}"


def opening(model: str, machine: Machine, repeat: int) -> str:
    """What is measured, and on what."""
    speeds = [f"{speed:,.3g} TFLOP/s in {dtype}" for dtype, speed in machine.matmul_tflops.items()]
    return "\n".join(
        (
            f"{model}, {' and '.join(machine.matmul_tflops)}, torch {machine.torch}",
            f"{machine.device}; {machine.threads} thread(s)",
            f"at best {', '.join(speeds)} (matrix product),",
            f"{machine.memory_gb_s:,.3g} GB/s (copy), measured now",
            f"medians of {repeat}; engines in turns",
        )
    )


def row(comparison: Comparison) -> str:
    """One work: a line for each engine."""
    first = comparison.measurements[0]
    lines = [f"{first.title} ({first.masks} mask(s))", f"  {HEAD}"]
    for one in comparison.measurements:
        unit = "frames" if one.work.startswith("video") else "images"
        lines.append(
            f"  {one.engine:<8}{one.median_seconds:>10.3f}{one.per_second:>12.3f} {unit}"
            f"{one.ceiling_share:>9.0%}{one.busy_share:>7.0%}{one.peak_gb:>7.2f} GB"
        )
    if comparison.ratio is not None:
        lines.append(
            f"  fast is {comparison.ratio:.2f} times as fast as plain{_shared(comparison)}"
        )
    return "\n".join(lines)


def _shared(comparison: Comparison) -> str:
    """Others that use the processor disturb the clock, but not the processor's own count."""
    if comparison.processor_ratio is None:
        return ""
    return f" ({comparison.processor_ratio:.2f} by processor time)"


def stage_table(measurement: Measurement) -> str:
    """Where one run's time went, beside the least that it could have taken."""
    total = sum(stage.seconds for stage in measurement.stages)
    lines = [
        f"  {measurement.engine}: where the time goes, and the floor by the arithmetic",
        f"    {'stage':<20}{'seconds':>9}{'share':>7}{'floor':>9}"
        f"{'TFLOP':>10}{'GB read':>9}{'passes':>8}",
    ]
    lines += [
        f"    {stage.stage:<20}{stage.seconds:>9.3f}{stage.seconds / total:>7.0%}"
        f"{stage.floor_seconds:>9.3f}{stage.tflop:>10.4f}{stage.gigabytes:>9.3f}{stage.passes:>8}"
        for stage in measurement.stages
    ]
    flops = sum(stage.tflop for stage in measurement.stages)
    lines.append(
        f"    {'all':<20}{total:>9.3f}{1:>7.0%}{measurement.floor_seconds:>9.3f}{flops:>10.4f}"
    )
    return "\n".join(lines)


def to_json(
    model: str, machine: Machine, forced: bool, comparisons: Sequence[Comparison]
) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "model": model,
        "forced_answers": forced,
        "machine": asdict(machine),
        "works": [comparison.to_json() for comparison in comparisons],
    }


def markdown(comparisons: Sequence[Comparison]) -> str:
    """The rows of a table for docs/benchmarks.md."""
    lines = [
        "| work | engine | seconds | a second | of the ceiling | busy | memory | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for comparison in comparisons:
        for one in comparison.measurements:
            ratio = f"{comparison.ratio:.2f}" if comparison.ratio and one.engine == "fast" else ""
            lines.append(
                f"| {one.title} | {one.engine} | {one.median_seconds:.3f} | {one.per_second:.3f} "
                f"| {one.ceiling_share:.0%} | {one.busy_share:.0%} | {one.peak_gb:.2f} GB "
                f"| {ratio} |"
            )
    return "\n".join(lines)
