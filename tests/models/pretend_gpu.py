"""A GPU that is not there: tensors that claim to be on one, and complain where a real one would.

They compute on the processor, so that whole answers come out; but who mixes them with tensors of
the host, forgets a `device=`, or takes their numbers without `.cpu()`, gets the error that CUDA
gives. What is sent to the host without waiting is zeros until somebody has waited for an event that
came behind it. Kernels, number formats that only a GPU lacks, and other races are not pretended.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.attention.bias import CausalBias
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.device("cuda", 0)
HOST = torch.device("cpu")
STREAM = "the only one"


class OnGpu(Tensor):
    """Memory of the host under another name."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class Event:
    """Of the one stream that there is."""

    sent: ClassVar[list[tuple[Tensor, Tensor]]] = []  # where to, and what

    def record(self, stream: str) -> None:
        assert stream == STREAM
        self.before, Event.sent = Event.sent, []

    def synchronize(self) -> None:
        for there, values in self.before:
            there.copy_(values)


class Graph:
    """What was done while it was recorded, and is done again to the same memory."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, Any, Any, Any]] = []

    def replay(self) -> None:
        for func, args, kwargs, results in self.done:
            again = func(*args, **kwargs)
            for there, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                if isinstance(there, Tensor):
                    there.copy_(new)


class Recording(TorchDispatchMode):
    """torch.cuda.graph, of which there is one at a time."""

    def __init__(self, graph: Graph, pool: object, stream: str, capture_error_mode: str) -> None:
        assert (stream, capture_error_mode) == (f"a stream of {GPU}", "thread_local")
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        results = func(*args, **kwargs)
        self.graph.done.append((func, args, kwargs, results))
        return results


CUDA = {
    "Event": Event,
    "current_stream": lambda device: STREAM,
    "CUDAGraph": Graph,
    "graph": Recording,
    "graph_pool_handle": object,
    "Stream": lambda device: f"a stream of {device}",
    "mem_get_info": lambda device: (2**40, 2**40),
    "memory_reserved": lambda device: 0,
    "memory_allocated": lambda device: 0,
}


class PretendGpu(TorchFunctionMode):
    """While it is entered, "cuda" is a device."""

    def __enter__(self) -> Any:
        self._kept = {name: getattr(torch.cuda, name) for name in CUDA}
        self._put(CUDA)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._put(self._kept)

    def _put(self, parts: dict[str, Any]) -> None:
        for name, part in parts.items():
            setattr(torch.cuda, name, part)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in SPECIAL:
            return SPECIAL[func](*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_gpu = any(isinstance(tensor, OnGpu) for tensor in tensors)
        if on_gpu:
            check_together(func, args, tensors)
        if kwargs.get("device") is not None:
            asked = torch.device(kwargs["device"])
            on_gpu = asked.type == "cuda"
            kwargs["device"] = HOST if on_gpu else asked
        result = func(*args, **kwargs)
        return moved(result) if on_gpu else result


def moved(result: Any) -> Any:
    """Results of an operation on the GPU are there, too."""
    if isinstance(result, Iterator):  # of `for row in tensor`
        return iter([moved(one) for one in result])
    return tree_map_only(Tensor, lambda one: one.as_subclass(OnGpu), result)


def check_together(func: Any, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
    """As CUDA: a single number may come from the host, and so may an index."""
    if func in INDEXING:
        indexed, _, *values = args
        if not isinstance(indexed, OnGpu):
            raise RuntimeError("indices should be either on cpu or on the same device")
        tensors = [one for one in values if isinstance(one, Tensor)]
    strangers = [one for one in tensors if not isinstance(one, OnGpu | CausalBias) and one.ndim]
    if strangers and func not in COPYING:
        raise RuntimeError(
            f"Expected all tensors to be on the same device: {func.__name__} got cuda:0 and cpu"
        )


def to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to` in all its forms."""
    like = [one for one in args if isinstance(one, Tensor)]
    hurried = kwargs.pop("non_blocking", False)
    device = kwargs.pop("device", None)
    rest = []
    for one in args:
        if isinstance(one, str | torch.device):
            device = one
        elif not isinstance(one, Tensor | bool | None):
            rest.append(one)
    if like:
        device, rest = device_of(like[0]), [like[0].dtype]
    target = torch.device(device) if device is not None else device_of(tensor)
    if target.type == "meta":
        return tensor.as_subclass(Tensor).to(target, *rest, **kwargs)
    values = tensor.as_subclass(Tensor)
    if rest or kwargs:
        values = values.to(*rest, **kwargs)
    if hurried and target.type == "cpu" and isinstance(tensor, OnGpu):
        there = torch.zeros_like(values)
        Event.sent.append((there, values.clone()))
        return there
    if target != device_of(tensor):
        values = values.clone()
    return values.as_subclass(OnGpu) if target.type == "cuda" else values


def device_of(tensor: Tensor) -> torch.device:
    return GPU if isinstance(tensor, OnGpu) else REAL_DEVICE(tensor)


def numpy(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    if isinstance(tensor, OnGpu):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    return tensor.numpy(*args, **kwargs)


def pin_memory(tensor: Tensor) -> Tensor:
    if isinstance(tensor, OnGpu):
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors")
    return tensor.clone()


REAL_DEVICE = Tensor.device.__get__
SPECIAL = {
    Tensor.device.__get__: device_of,
    Tensor.is_cuda.__get__: lambda tensor: isinstance(tensor, OnGpu),
    Tensor.to: to,
    Tensor.cuda: lambda tensor: to(tensor, GPU),
    Tensor.cpu: lambda tensor: to(tensor, HOST),
    Tensor.numpy: numpy,
    Tensor.__array__: numpy,
    Tensor.pin_memory: pin_memory,
}
INDEXING = {Tensor.__getitem__, Tensor.__setitem__}
COPYING = {Tensor.copy_, Tensor.__setitem__, torch.tensor}  # from anywhere to anywhere
