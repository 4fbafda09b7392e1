"""What this machine can do at best, and how much of it a run used."""

import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

SIDE = {"cuda": 8192, "cpu": 1536}  # of the matrices: large enough for full speed
COPY_BYTES = {"cuda": 2**30, "cpu": 2**28}
TRIES = 5
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK_MARK = "5"  # what the kernel takes for "forget the peak of resident memory"


@dataclass(frozen=True, slots=True)
class Machine:
    """A device, and its measured limits."""

    device: str
    threads: int  # of the processor
    torch: str
    matmul_tflops: dict[str, float]  # of square matrices, by dtype: all that a model computes in
    memory_gb_s: float  # read and written by a copy

    def computing(self, flops: float, dtype: str) -> float:
        """Seconds that so many operations take at least."""
        return flops / self.matmul_tflops[dtype] / 1e12

    def floor(self, flops: float, bytes_read: float, dtype: str) -> float:
        """Seconds that these take at least."""
        return max(self.computing(flops, dtype), bytes_read / self.memory_gb_s / 1e9)


def measure_machine(device: torch.device, dtypes: Iterable[torch.dtype]) -> Machine:
    """Takes a second or two."""
    source = torch.ones(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    with torch.inference_mode():
        speeds = {dtype_name(dtype): _multiplying(device, dtype) for dtype in dtypes}
        copy = _best(lambda: target.copy_(source), device)
    return Machine(
        device=_name(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        matmul_tflops=speeds,
        memory_gb_s=2 * source.nbytes / copy / 1e9,
    )


def dtype_name(dtype: torch.dtype) -> str:
    """ "float32" """
    return str(dtype).removeprefix("torch.")


def dtypes_of(model: torch.nn.Module) -> list[torch.dtype]:
    """All that its networks compute in, in their order."""
    return list(dict.fromkeys(weight.dtype for weight in model.parameters()))


def _multiplying(device: torch.device, dtype: torch.dtype) -> float:
    """10^12 operations a second."""
    side = SIDE[device.type]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / _best(lambda: torch.matmul(a, b), device) / 1e12


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forget_peak(device: torch.device) -> None:
    """From now on `peak_gb` counts anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif RESET.exists():
        RESET.write_text(PEAK_MARK, encoding="ascii")


def peak_gb(device: torch.device) -> float:
    """Memory at its fullest: the device's, or this process's resident memory (Linux)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    if not STATUS.exists():
        return 0.0
    lines = STATUS.read_text(encoding="ascii").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024 / 1e9


def gpu_busy_share(run: Callable[[], object], device: torch.device) -> float:
    """Run once more, under the profiler: which part of the time the device computed."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        started = time.perf_counter()
        run()
        synchronise(device)
        wall = time.perf_counter() - started
    microseconds = sum(
        event.self_device_time_total
        for event in profiler.key_averages()
        # Others tell the same time once more: who launched it, and within which named part.
        if event.device_type.name == "CUDA" and not event.is_user_annotation
    )
    return min(1.0, microseconds / 1e6 / wall)


def _best(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of the quickest of some tries, the first not counted."""
    times = []
    for _ in range(TRIES + 1):
        synchronise(device)
        started = time.perf_counter()
        run()
        synchronise(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return platform.processor() or platform.machine()
