"""Objects that were named together and are tracked together, while windows come and go."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.segmenter import DecodedMasks
from sa2va_cli.models.sa2va.tracker import Tracker


@dataclass(slots=True)
class Group:
    """N objects of one look of the language model, with the memories that they began with."""

    obj_ids: list[int]
    tracker: Tracker
    keys: dict[int, DecodedMasks] = field(default_factory=dict)  # by position, still to come

    def step(self, position: int, features: Callable[[], FrameFeatures]) -> DecodedMasks:
        """The next frame: decoded from language if it is a key frame, else from memory. Features
        are asked for only then."""
        known = self.keys.pop(position, None)
        return known or self.tracker.track_frame(position, features())

    def keep(self, obj_ids: set[int]) -> None:
        """Forget all other objects."""
        places = [place for place, obj_id in enumerate(self.obj_ids) if obj_id in obj_ids]
        if len(places) < len(self.obj_ids):
            self.obj_ids = [self.obj_ids[place] for place in places]
            self.tracker.keep(places)
            self.keys = {at: some_objects(drawn, places) for at, drawn in self.keys.items()}


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was decoded of one frame, whoever tracked it."""

    obj_ids: tuple[int, ...]
    decoded: DecodedMasks

    def some(self, places: Sequence[int]) -> "Drawn":
        """Some objects, in the order asked for."""
        obj_ids = tuple(self.obj_ids[place] for place in places)
        return Drawn(obj_ids, some_objects(self.decoded, places))

    def sorted(self) -> "Drawn":
        as_it_is = range(len(self.obj_ids))
        places = sorted(as_it_is, key=lambda place: self.obj_ids[place])
        return self if places == list(as_it_is) else self.some(places)


def some_objects(decoded: DecodedMasks, places: Sequence[int]) -> DecodedMasks:
    at = list(places)
    return DecodedMasks(
        decoded.mask_logits[at],
        decoded.scores[at],
        decoded.object_logits[at],
        decoded.pointers[at],
    )


def together(parts: Sequence[Drawn]) -> Drawn | None:
    """The objects of all parts, in the order of their numbers; None for no objects."""
    parts = [part for part in parts if part.obj_ids]
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0].sorted()
    decoded = DecodedMasks(
        torch.cat([part.decoded.mask_logits for part in parts]),
        torch.cat([part.decoded.scores for part in parts]),
        torch.cat([part.decoded.object_logits for part in parts]),
        torch.cat([part.decoded.pointers for part in parts]),
    )
    return Drawn(tuple(obj_id for part in parts for obj_id in part.obj_ids), decoded).sorted()
