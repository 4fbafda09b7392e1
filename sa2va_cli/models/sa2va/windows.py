"""A long video in windows: the language model looks anew at each, and objects keep their numbers.

Each look names objects, and a group of them is tracked from the key frames of that look. Objects
named before are tracked on, beside them, from the memories that they have: so masks can be
compared in the frames that two windows share. What is named anew leaves its old group; what was
out of sight for a whole window is tracked no more, but keeps its number for when it comes back.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from sa2va_cli.models.sa2va.groups import Drawn, Group, together
from sa2va_cli.models.sa2va.hand_over import HandOver, pack, unpack
from sa2va_cli.models.sa2va.image_encoder import FrameFeatures
from sa2va_cli.models.sa2va.matching import Compared, Known, Named, identify, overlaps, visible
from sa2va_cli.models.sa2va.reel import Reel, Scout
from sa2va_cli.models.sa2va.segmenter import DecodedMasks, Segmenter
from sa2va_cli.models.sa2va.tracker import Tracker
from sa2va_cli.models.sa2va.video import as_given_masks
from sa2va_cli.models.sa2va.views import Placed, Views
from sa2va_cli.models.sa2va.window_plan import Window
from sa2va_cli.results import Answer, Footage, Naming, TrackedMasks, WindowLook

# Key frames -> the answers to all questions, and (N, 1, C): a prompt for each [SEG].
Look = Callable[[list[Views]], tuple[list[Answer], Tensor]]


@dataclass(frozen=True, slots=True)
class Eyes:
    """What windows need of the model."""

    views: Callable[[np.ndarray], Views]
    ahead: Callable[[Iterator[Placed]], Iterator[Placed]]  # the same frames, resized in time
    look: Look
    encode: Callable[[Views], FrameFeatures]
    finish: Callable[[Drawn | None, int, tuple[int, int]], TrackedMasks]  # position, (W, H)
    segmenter: Segmenter
    consistent: bool  # Sa2VA-i, section 8.4 of the reference behaviour
    naming: Naming


class WindowedVideo:
    """One pass over a video, or a part of it."""

    def __init__(
        self, eyes: Eyes, footage: Footage, windows: Sequence[Window], state: bytes
    ) -> None:
        """`state` of a WindowLook: begin with that window; empty: at the beginning."""
        self._eyes = eyes
        self._windows = windows
        begin = HandOver(0, [], [])
        if state:
            device = next(eyes.segmenter.parameters()).device
            begin = unpack(state, self._new_tracker, device)
        self._begin = begin
        self._known, self._groups = begin.known, begin.groups
        first = windows[begin.window].first if windows else 0
        self._footage = footage
        self._reel = Reel(eyes.ahead(self._read(first)))
        self._scout = Scout(self._read, {key for window in windows for key in window.keys})
        self._size = (0, 0)  # (width, height) of the frames
        self._ready: dict[int, Drawn | None] = {}  # shared frames, which are drawn already
        self._encoded: dict[int, FrameFeatures] = {}  # key frames that older groups are to see

    def run(self) -> Iterator[WindowLook | TrackedMasks]:
        """Each window's look, then its frames. Ends where the frames do."""
        with closing(self._reel), closing(self._scout):
            for window in self._windows[self._begin.window :]:
                look = self._open(window)
                if look is None:
                    return
                yield look
                for position, views in self._reel.until(window.stop):
                    yield self._draw(position, views)

    def _read(self, first: int) -> Iterator[Placed]:
        frames = self._footage.read(first)
        try:
            for position, pixels in frames:
                yield position, self._eyes.views(pixels)
        finally:
            if hasattr(frames, "close"):  # ends the decoder
                frames.close()

    @torch.inference_mode()
    def _open(self, window: Window) -> WindowLook | None:
        """Let the language model look, and find out whom it means. None: no frame is left."""
        state = self._hand_over(window)
        ahead = self._reel.ahead(window.read_ahead)
        keys = self._key_frames(window, ahead)
        if not keys and self._reel.ended():
            return None
        if not keys:
            return WindowLook(window.number, window.first, (), (), state)
        self._size = keys[0][1].size
        answers, prompts = self._eyes.look([views for _, views in keys])
        obj_ids: list[int] = []
        if len(prompts):
            fresh = self._prompted(keys, prompts, window.shared_stop)
            obj_ids = self._take_up(window, answers, fresh, ahead)
        return WindowLook(window.number, window.first, tuple(answers), tuple(obj_ids), state)

    def _hand_over(self, window: Window) -> bytes:
        """What is known as the window begins; objects that were not seen for one are left."""
        for group in self._groups:
            group.keys.clear()
        if window.number == 0:
            return b""
        before = self._windows[window.number - 1].first
        self._keep({one.obj_id for one in self._known if one.last_seen >= before})
        return pack(HandOver(window.number, self._known, self._groups))

    def _key_frames(self, window: Window, ahead: list[Placed]) -> list[Placed]:
        near = {key for key in window.keys if key < window.read_ahead}
        frames = [frame for frame in ahead if frame[0] in near]
        far = [key for key in window.keys if key not in near]
        return frames + (self._scout.fetch(far, window.first) if far else [])

    def _prompted(self, keys: list[Placed], prompts: Tensor, shared_stop: int) -> Group:
        """A group of all [SEG], not numbered yet, with what language shows of the key frames."""
        group = Group([0] * len(prompts), self._new_tracker())
        for position, views in keys:
            features = self._eyes.encode(views)
            if self._groups and position < shared_stop:  # they want to see it, too
                self._encoded[position] = features
            drawn = self._eyes.segmenter.decode_prompts(features, prompts)
            if self._eyes.consistent:
                drawn = as_given_masks(self._eyes.segmenter, drawn, features, self._size)
            group.tracker.condition(position, features, drawn)
            group.keys[position] = drawn
        return group

    def _take_up(
        self, window: Window, answers: list[Answer], fresh: Group, ahead: list[Placed]
    ) -> list[int]:
        """Number the objects of the newest look; 0 for those that are not to be seen."""
        named = self._named(answers, fresh)
        shared: list[_Shared] = []
        numbers: list[int | None] = [None] * len(named)
        if window.number > 0:
            frames = [frame for frame in ahead if frame[0] < window.shared_stop]
            shared = self._track_both(fresh, frames)
            self._encoded.clear()
            numbers = identify(named, self._known, _compare(len(named), shared))
        obj_ids = []
        for one, number in zip(named, numbers, strict=True):
            # Of the first look, whatever it says is an object, as for the reference.
            if number is None and (one.in_sight or window.number == 0):
                number = len(self._known) + 1
                self._known.append(Known(number, one.question, one.name))
            obj_ids.append(number or 0)
        self._keep({obj_id for group in self._groups for obj_id in group.obj_ids} - {*obj_ids})
        fresh.obj_ids = list(obj_ids)
        self._ready = {one.position: one.merged(obj_ids) for one in shared}
        self._groups.append(fresh)
        self._keep({one.obj_id for one in self._known})
        return obj_ids

    def _named(self, answers: list[Answer], fresh: Group) -> list[Named]:
        questions = [q for q, answer in enumerate(answers) for _ in answer.seg_probabilities]
        sights = torch.stack([visible(drawn).flatten(1).any(1) for drawn in fresh.keys.values()])
        names = self._eyes.naming(answers)
        in_sight = sights.any(0).tolist()
        return [Named(*one) for one in zip(questions, names, in_sight, strict=True)]

    def _track_both(self, fresh: Group, frames: list[Placed]) -> list["_Shared"]:
        """The shared frames as the groups of earlier windows see them, and as the newest one."""
        if not self._groups:
            return []
        shared = []
        for position, views in frames:
            features = self._features(position, views)
            old = together(self._step(position, features))
            shared.append(_Shared(position, old, fresh.step(position, features)))
        return shared

    def _features(self, position: int, views: Views) -> Callable[[], FrameFeatures]:
        """Of a frame, made when somebody asks, and once."""
        return cache(lambda: self._encoded.pop(position, None) or self._eyes.encode(views))

    def _step(self, position: int, features: Callable[[], FrameFeatures]) -> list[Drawn]:
        return [Drawn(tuple(g.obj_ids), g.step(position, features)) for g in self._groups]

    def _keep(self, obj_ids: set[int]) -> None:
        """Track no others."""
        for group in self._groups:
            group.keep(obj_ids)
        self._groups = [group for group in self._groups if group.obj_ids]

    @torch.inference_mode()
    def _draw(self, position: int, views: Views) -> TrackedMasks:
        if position in self._ready:
            drawn = self._ready.pop(position)
        elif self._groups:
            drawn = together(self._step(position, self._features(position, views)))
        else:
            drawn = None
        tracked = self._eyes.finish(drawn, position, views.size)
        for place, obj_id in enumerate(tracked.obj_ids):
            if tracked.masks.object_scores[place] > 0.5 and tracked.masks.masks[place].any():
                self._known[obj_id - 1].last_seen = position
        return tracked

    def _new_tracker(self) -> Tracker:
        return Tracker(self._eyes.segmenter, original=self._eyes.consistent)


@dataclass(frozen=True, slots=True)
class _Shared:
    """A frame of two windows."""

    position: int
    old: Drawn | None  # by the groups of earlier windows
    new: DecodedMasks  # of all [SEG] of the newest look

    def merged(self, obj_ids: Sequence[int]) -> Drawn | None:
        """Each object once: as the newest look has it, if it has it."""
        accepted = [place for place, obj_id in enumerate(obj_ids) if obj_id]
        parts = [Drawn(tuple(obj_ids), self.new).some(accepted)]
        if self.old:
            kept = [n for n, obj_id in enumerate(self.old.obj_ids) if obj_id not in obj_ids]
            parts.append(self.old.some(kept))
        return together(parts)


def _compare(num_named: int, shared: Sequence[_Shared]) -> Compared:
    olds = [one.old for one in shared if one.old]
    if not olds:
        return Compared((), torch.zeros(num_named, 0), frozenset())
    masks = [visible(old.decoded) for old in olds]
    there = torch.stack([mask.flatten(1).any(1) for mask in masks]).any(0).tolist()
    in_sight = frozenset(i for i, seen in zip(olds[0].obj_ids, there, strict=True) if seen)
    ious = overlaps([visible(one.new) for one in shared], masks)
    return Compared(olds[0].obj_ids, ious, in_sight)
