"""From `--devices` to a list of devices, each checked to be there."""

import re
from collections.abc import Sequence
from pathlib import Path

from sa2va_cli.errors import UsageError
from sa2va_cli.resources import usable_cores

# NVIDIA's driver, Windows' driver for Linux, AMD's: without one of them there is no device.
DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/proc/driver/nvidia")
CPU_WORKERS = 4  # of "auto" on the processor: each has a model of its own
GPU_BATCH = 8  # images at a time of "auto"
MAX_BATCH = 64
_CPU = re.compile(r"cpu(?::([1-9]\d{0,2}))?")
_CUDA = re.compile(r"(?:cuda:)?(\d+)")


def choose_devices(text: str, workers_per_device: int = 1) -> tuple[str, ...]:
    """ "auto", "cpu", "cpu:2" (two workers), "cuda" (all), "0,1,3" -> one name for each worker.

    Numbers count the devices that CUDA_VISIBLE_DEVICES leaves. Raises UsageError for what is
    not there.
    """
    if workers_per_device < 1:
        raise UsageError(
            f"--workers-per-device {workers_per_device} is no number of workers.",
            hint="1 is right unless the model is far smaller than the device",
        )
    devices = [device for part in text.split(",") for device in _expand(part.strip().lower())]
    if len(set(devices) - {"cpu"}) < len([device for device in devices if device != "cpu"]):
        raise UsageError(
            f"--devices {text!r} names a device twice.", hint="use --workers-per-device for that"
        )
    return tuple(device for device in devices for _ in range(workers_per_device))


def choose_batch_size(text: str, devices: Sequence[str]) -> int:
    """ "auto" or a number -> images that each model may see at a time.

    "auto" is one on the processor: batches gain nothing there, and one at a time writes the same
    bytes for any number of workers. Raises UsageError for anything else.
    """
    if text == "auto":
        return GPU_BATCH if all(device.startswith("cuda") for device in devices) else 1
    if text.isdecimal() and 1 <= int(text) <= MAX_BATCH:
        return int(text)
    raise UsageError(
        f"--batch-size {text!r} cannot be used.", hint=f"give auto, or a number up to {MAX_BATCH}"
    )


def _expand(part: str) -> list[str]:
    if match := _CPU.fullmatch(part):
        return ["cpu"] * int(match[1] or 1)
    if part == "auto":
        return _all_cuda() or ["cpu"] * min(usable_cores(), CPU_WORKERS)
    if part == "cuda":
        return _all_cuda() or [_missing("CUDA device", [])]
    if match := _CUDA.fullmatch(part):
        return [_one_cuda(int(match[1]))]
    raise UsageError(
        f"Unknown device {part!r}.", hint="write auto, cpu, cpu:2, cuda, or numbers such as 0,1,3"
    )


def _all_cuda() -> list[str]:
    if not any(Path(driver).exists() for driver in DRIVERS):
        return []
    import torch.cuda  # costs seconds: only where there may be a device

    found = torch.cuda.device_count()  # as the driver lists them
    if found and not torch.cuda.is_available():  # which warns why, on stderr
        raise UsageError(
            f"torch {torch.__version__} cannot use the {found} CUDA devices of this machine.",
            hint="is the driver too old for it? nvidia-smi tells which CUDA it can do. "
            "--devices cpu does without them",
        )
    return [f"cuda:{index}" for index in range(found)]


def _one_cuda(index: int) -> str:
    devices = _all_cuda()
    return devices[index] if index < len(devices) else _missing(f"CUDA device {index}", devices)


def _missing(what: str, devices: list[str]) -> str:
    there = ", ".join(devices) or "none"
    raise UsageError(
        f"There is no {what} (found: {there}).",
        hint="check nvidia-smi, CUDA_VISIBLE_DEVICES and the torch build, or use --devices cpu",
    )
