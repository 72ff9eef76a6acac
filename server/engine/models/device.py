"""Which device, dtype and layout, how many threads; and torch's failures in the engine's words.

`translating` wraps whatever runs on the device. Its `except` block only takes notes: a traceback
keeps the frames of the failed call alive and every tensor in them, so the engine could free
nothing. Our error is raised after the block is left, without a link to torch's.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from server.engine.models.base import DeviceLostError, OutOfMemoryError

__all__ = [
    "DTYPES",
    "channels_last",
    "choose_device",
    "choose_dtype",
    "choose_threads",
    "is_out_of_memory",
    "on_one_thread",
    "translating",
]

P = ParamSpec("P")
T = TypeVar("T")
Network = TypeVar("Network", bound=nn.Module)

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Linux: how much processor a container may use, in microseconds of each period."""

OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "_STATUS_ALLOC_FAILED",
    "Failed to allocate memory",
    "bad_alloc",
)
"""How torch and ONNX Runtime say it where they raise a plain RuntimeError."""

DEVICE_LOST = ("CUDA error", "CUBLAS_STATUS_", "CUDNN_STATUS_")
"""After any of these every later call on the device fails as well."""


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" is the first GPU, or the CPU where there is none.

    Raises:
        ValueError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}: try auto, cpu or cuda") from None
    if device.type not in {"cpu", "cuda"}:
        raise ValueError(f"device {name!r} is not supported: try auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"no device {name!r} here: torch sees {torch.cuda.device_count()} GPUs")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype called `name`; "auto" is bfloat16 where the device multiplies it natively.

    Where it does not, a GPU gets float16 and a CPU float32.

    Raises:
        ValueError: the name is unknown, or means nothing on this device.
    """
    if name == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if native else torch.float16
        return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32
    if name not in DTYPES:
        raise ValueError(f"unknown dtype {name!r}: expected auto, {', '.join(DTYPES)}")
    if name == "float16" and device.type == "cpu":
        raise ValueError("float16 is slower than float32 on a CPU: try bfloat16 or float32")
    return DTYPES[name]


def _cpu_multiplies_bfloat16() -> bool:
    # torch offers no public question; without an answer float32 is always right.
    asks = (
        getattr(torch.cpu, name, None)
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return any(ask() for ask in asks if ask is not None)


def choose_threads(wanted: int | None = None) -> int:
    """Set torch's threads, before any work starts, and say how many: by default one a core.

    A container's quota counts too: 64 threads on a share of two cores are far slower than two.
    """
    threads = wanted or min(_own_cpus(), _quota_of_cpus(CPU_QUOTA))
    torch.set_num_threads(threads)
    return threads


def _own_cpus() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota_of_cpus(path: Path) -> int:
    unlimited = os.cpu_count() or 1
    if not path.exists():
        return unlimited
    quota, period = path.read_text().split()
    return unlimited if quota == "max" else max(1, int(quota) // int(period))


def translating(call: Callable[P, T]) -> Callable[P, T]:
    """`call`, raising OutOfMemoryError and DeviceLostError for torch's own.

    Other errors pass as they are.
    """

    @functools.wraps(call)
    def translated(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            failure = _translate(error)
            if failure is None:
                raise
        if isinstance(failure, OutOfMemoryError):
            torch.cuda.empty_cache()  # does nothing where there is no GPU
        raise failure

    return translated


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that there is no room, on the device or beside it."""
    is_named = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_named or any(sign in str(error) for sign in OUT_OF_MEMORY)


def _translate(error: Exception) -> OutOfMemoryError | DeviceLostError | None:
    text = str(error)
    if is_out_of_memory(error):
        return OutOfMemoryError(text)
    if any(sign in text for sign in DEVICE_LOST):
        return DeviceLostError(text)
    return None


@contextlib.contextmanager
def on_one_thread() -> Iterator[None]:
    """Compute without torch's helpers, which small products wait for longer than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def channels_last(network: Network) -> Network:
    """The network with its convolutions' weights laid out as its activations are."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            laid_out = module.weight.data.contiguous(memory_format=torch.channels_last)
            module.weight.data = laid_out
    return network
