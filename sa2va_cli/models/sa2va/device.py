"""Which device, number format and attention to use, and what to say when one cannot be had."""

from importlib import import_module

import torch
from torch import Tensor
from transformers.utils import is_flash_attn_2_available

from sa2va_cli.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WIDE = 512  # from here on matrix products are what a vision tower's time goes into
AMPERE = (8, 0)  # the first devices that multiply bfloat16, and that flash-attn 2 runs on
ATTENTION = {"sdpa": "sdpa", "flash": "flash_attention_2"}


def choose_device(device: str | torch.device) -> torch.device:
    """A torch device from its name; "auto" is the first GPU, or the CPU.

    Raises UsageError for a device that is not there, or that this torch cannot compute on.
    """
    if str(device) == "auto":
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UsageError(
            f"Unknown device {str(device)!r}.", hint="use cpu, cuda or cuda:0"
        ) from error
    if chosen.type == "cuda":
        _check_gpu(chosen)
    return chosen


def _check_gpu(device: torch.device) -> None:
    """One addition: the driver also lists devices that it, or this torch, is too old or new for."""
    if (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"There is no device {device}: this machine shows {torch.cuda.device_count()} GPUs.",
            hint="use cpu, or check CUDA_VISIBLE_DEVICES and the driver",
        )
    try:
        torch.ones(1, device=device).add_(1).item()
    except (RuntimeError, torch.cuda.DeferredCudaCallError) as error:
        if "out of memory" in str(error):  # of others, perhaps: they may leave
            raise
        reason = str(error).strip().partition("\n")[0]  # behind it is how to debug CUDA
        raise UsageError(
            f"{device} cannot be used: {reason}",
            hint=f"use cpu, or a driver and a torch (this is {torch.__version__}) that go with "
            "the device and with each other",
        ) from error


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Without waiting for the copy, which needs memory that stays where it is."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def settle_arithmetic(device: torch.device) -> None:
    """From now on, in this process, float32 is float32 on a GPU, and the same again the same.

    torch lets cuDNN round what convolutions multiply to 10 bits, and choose algorithms that sum in
    any order; and where it prefers cuDNN's attention (Hopper), a plan is built anew for each
    length, which is for each word. The flash and memory-efficient kernels do without.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cuda.enable_cudnn_sdp(False)


def choose_dtype(
    dtype: str | torch.dtype, device: torch.device, vision_width: int = 0
) -> torch.dtype:
    """ "auto" is bfloat16, as the weights were made for, on devices that multiply it as such; on a
    CPU for the vision tower alone (`checkpoint.Placement`), and if that is wide enough to profit.
    Else it is float32.

    Raises UsageError for an unknown name.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        faster = multiplies_bfloat16(device) and (device.type == "cuda" or vision_width >= WIDE)
        return torch.bfloat16 if faster else torch.float32
    name = dtype.removeprefix("torch.")
    if name not in DTYPES:
        raise UsageError(f"Unknown dtype {dtype!r}.", hint=f"use auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def multiplies_bfloat16(device: torch.device) -> bool:
    """As fast as it should be, that is. Others convert it; older GPUs cannot convolve it at all.

    By the processor's name and instructions, not by the clock: all workers of a job must agree.
    AVX-512 BF16 halves the time on an AMD EPYC; on an Intel Xeon whose AMX is withheld by a virtual
    machine it takes nearly twice as long as float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch
        return False
    capabilities = torch.cpu.get_capabilities()
    if capabilities.get("cpu_name", "").startswith("AMD"):
        return bool(capabilities.get("avx512_bf16", False))
    return bool(capabilities.get("amx_bf16", False))


def choose_attention(attention: str, device: torch.device, dtype: torch.dtype) -> str:
    """transformers' name of the attention: flash-attn if it can be used, else SDPA, never eager."""
    usable = device.type == "cuda" and dtype != torch.float32 and _flash_runs_on(device)
    if attention == "auto":
        return ATTENTION["flash"] if usable else ATTENTION["sdpa"]
    if attention not in ATTENTION:
        raise UsageError(f"Unknown attention {attention!r}.", hint="use auto, sdpa or flash")
    if attention == "flash" and not usable:
        raise UsageError(
            "flash-attn cannot be used here.",
            hint="it needs a CUDA device of 2020 or later, bfloat16 or float16, and "
            "`pip install sa2va-cli[flash]` built for this torch",
        )
    return ATTENTION[attention]


def _flash_runs_on(device: torch.device) -> bool:
    """Installed is not enough: a wheel made for another torch is found, but does not load."""
    try:
        import_module("flash_attn")
    except (ImportError, OSError):
        return False
    if not is_flash_attn_2_available():  # an old one, or version 4 under the same name
        return False
    return torch.cuda.get_device_capability(device) >= AMPERE
