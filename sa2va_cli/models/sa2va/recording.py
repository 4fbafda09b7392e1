"""CUDA graphs: what a network told the GPU to do is recorded once, and then told with one word.

SAM 2's encoder consists of some 1,200 operations, which take Python as long to start as a GPU to
compute: 19 ms instead of 10 on an H200. The results are the same bits.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, ClassVar
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only

RECURRENCE = 3  # what has the same shapes for the third time is recorded
PATIENCE = 1000  # calls until what could not be recorded is tried again
MAX_RECORDINGS = 16  # of one network
MAX_BYTES = 2**27  # of inputs: with more, a GPU has enough to do
FREE_BYTES = 2**32  # on the device, left for everything else


class Room:
    """Where one model's recordings are made, and the memory that they share: none of them runs
    beside another, and what one leaves there is copied before the next."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.lock = Lock()  # some people's threads share a model
        self.renew()

    def renew(self) -> None:
        """Leave the memory to recordings that there are; a failed one may have spoiled it."""
        # Its own stream: torch's is on the device that was the current one when it was made.
        self.stream = torch.cuda.Stream(self.device)
        self.pool = torch.cuda.graph_pool_handle()


class Recorded:
    """A function of tensors on a GPU, and of other things that do not change often."""

    all: ClassVar[WeakSet["Recorded"]] = WeakSet()

    def __init__(self, run: Callable[..., Any], room: Room) -> None:
        self._run = run
        self._room = room
        self._met: Counter[Any] = Counter()
        self._recordings: dict[Any, _Recording] = {}
        Recorded.all.add(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_inference_mode_enabled():
            return self._run(*args, **kwargs)
        leaves, structure = tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        key = (structure, *map(_signature, leaves))
        with self._room.lock:
            recording = self._recordings.get(key) or self._record(key, tensors, args, kwargs)
            if recording is not None:
                return recording.replay(tensors)
        return self._run(*args, **kwargs)

    def forget(self) -> None:
        """Give up the memory of all recordings."""
        with self._room.lock:
            self._recordings.clear()
            self._met.clear()

    def _record(
        self, key: Any, tensors: Sequence[Tensor], args: Any, kwargs: Any
    ) -> "_Recording | None":
        """None if it has not come often enough, or cannot be recorded."""
        self._met[key] += 1
        if self._met[key] < RECURRENCE or len(self._recordings) == MAX_RECORDINGS:
            return None
        try:
            if self._has_room(tensors):
                self._recordings[key] = _Recording(self._run, args, kwargs, self._room)
                return self._recordings[key]
        except RuntimeError:  # for whatever reason: it can still be run
            self._room.renew()
        self._met[key] = RECURRENCE - PATIENCE
        return None

    def _has_room(self, tensors: Sequence[Tensor]) -> bool:
        if sum(tensor.nbytes for tensor in tensors) > MAX_BYTES:
            return False
        device = self._room.device
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused > FREE_BYTES


class _Recording:
    """One run, with memory of its own for what goes in and comes out."""

    def __init__(self, run: Callable[..., Any], args: Any, kwargs: Any, room: Room) -> None:
        args, kwargs = tree_map_only(Tensor, lambda own: own.clone(), (args, kwargs))
        self._inputs = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            self._graph,
            pool=room.pool,
            stream=room.stream,
            capture_error_mode="thread_local",  # threads that open pictures may go on
        ):
            self._outputs = run(*args, **kwargs)

    def replay(self, inputs: Sequence[Tensor]) -> Any:
        """The same for other numbers."""
        for own, new in zip(self._inputs, inputs, strict=True):
            own.copy_(new)
        self._graph.replay()
        return tree_map_only(Tensor, lambda own: own.clone(), self._outputs)


def record_networks(networks: Sequence[nn.Module], device: torch.device) -> None:
    """From their third call on with the same shapes, networks on a GPU are replayed."""
    room = Room(device)
    for network in networks:
        # The method, not the module: whoever measures hooks into the module's call.
        network.forward = Recorded(network.forward, room)  # type: ignore[method-assign]


def forget_recordings() -> None:
    """Of all models, where memory is short."""
    for recorded in list(Recorded.all):
        recorded.forget()


def _signature(leaf: Any) -> Any:
    """What a recording holds for."""
    return (leaf.shape, leaf.stride(), leaf.dtype) if isinstance(leaf, Tensor) else leaf
