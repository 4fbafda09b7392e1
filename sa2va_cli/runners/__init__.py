"""Runners: where the workers of a job live. To add one: write `start`, and name it in RUNNERS."""

from sa2va_cli.errors import unknown_name
from sa2va_cli.runners import local, multi_gpu
from sa2va_cli.runners.handle import StartWorker

RUNNERS: dict[str, StartWorker] = {"local": local.start, "multi_gpu": multi_gpu.start}


def get_runner(name: str) -> StartWorker:
    if name not in RUNNERS:
        raise unknown_name("runner", name, RUNNERS)
    return RUNNERS[name]
