"""Where it was measured."""

import os
import platform
from pathlib import Path
from typing import Any

import onnxruntime
import torch

__all__ = ["describe_machine", "load_average", "short_name"]

_CPUINFO = Path("/proc/cpuinfo")


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Hardware and versions, as far as figures depend on them."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "load_average": load_average(),
    }


def load_average() -> float:
    """Of the last minute: what else went on when the benchmark began."""
    return round(os.getloadavg()[0], 2)


def short_name(dtype: torch.dtype) -> str:
    """`float32`, not `torch.float32`."""
    return str(dtype).removeprefix("torch.")


def _processor() -> str:
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
