"""What one window hands to the next, as bytes: another process goes on from them exactly."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from sa2va_cli.models.sa2va.groups import Group
from sa2va_cli.models.sa2va.matching import Known
from sa2va_cli.models.sa2va.tracker import Bank, Pointed, Remembered, Tracker

FACTS = "facts"  # the name of a tensor whose bytes are JSON: all that is no tensor


@dataclass(frozen=True, slots=True)
class HandOver:
    """Where windows stand between two of them."""

    window: int  # the next one
    known: list[Known]
    groups: list[Group]


def pack(hand_over: HandOver) -> bytes:
    """A safetensors file: no code in it, none needed to read it."""
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {
        "window": hand_over.window,
        "known": [asdict(one) for one in hand_over.known],
        "groups": [_pack_group(group, f"{n}", tensors) for n, group in enumerate(hand_over.groups)],
    }
    text = json.dumps(facts).encode("ascii")
    tensors[FACTS] = torch.tensor(list(text), dtype=torch.uint8)
    return save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})


def unpack(data: bytes, make_tracker: Callable[[], Tracker], device: torch.device) -> HandOver:
    """The same again, with new trackers."""
    tensors = {name: tensor.clone().to(device) for name, tensor in load(data).items()}
    facts = json.loads(bytes(tensors.pop(FACTS).tolist()))
    groups = []
    for number, frames in enumerate(facts["groups"]):
        group = Group(frames["obj_ids"], make_tracker())
        group.tracker.restore(_unpack_bank(frames, f"{number}", tensors))
        groups.append(group)
    return HandOver(facts["window"], [Known(**one) for one in facts["known"]], groups)


def _pack_group(group: Group, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Frame numbers; the tensors go where tensors are."""
    bank = group.tracker.bank()
    for part, frames in (("conditioning", bank.conditioning), ("recent", bank.recent)):
        for place, frame in enumerate(frames):
            tensors[f"{name}.{part}.{place}.memory"] = frame.memory
            tensors[f"{name}.{part}.{place}.pointers"] = frame.pointers
    for place, pointed in enumerate(bank.older):
        tensors[f"{name}.older.{place}.pointers"] = pointed.pointers
    parts: dict[str, Sequence[Remembered] | Sequence[Pointed]] = {
        "conditioning": bank.conditioning,
        "recent": bank.recent,
        "older": bank.older,
    }
    numbers = {part: [frame.frame_idx for frame in frames] for part, frames in parts.items()}
    return {"obj_ids": group.obj_ids} | numbers


def _unpack_bank(frames: dict[str, Any], name: str, tensors: dict[str, Tensor]) -> Bank:
    def remembered(part: str) -> tuple[Remembered, ...]:
        return tuple(
            Remembered(
                number,
                tensors[f"{name}.{part}.{place}.memory"],
                tensors[f"{name}.{part}.{place}.pointers"],
            )
            for place, number in enumerate(frames[part])
        )

    older = tuple(
        Pointed(number, tensors[f"{name}.older.{place}.pointers"])
        for place, number in enumerate(frames["older"])
    )
    return Bank(remembered("conditioning"), remembered("recent"), older)
