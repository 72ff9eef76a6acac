"""What the process asks of the system it runs on, before it serves.

Reading a picture of 40 megapixels takes some 800 MB for a moment, in blocks of 16 MiB. glibc learns
from the first that is freed to keep such blocks in its heaps, one a thread, and from then on next
to nothing goes back. Told where to draw the line it learns nothing: 8 MiB is below those blocks and
above most of the bundled model's tensors, which would else be mapped anew each time.
"""

import contextlib
import ctypes
import os
import sys

if sys.platform != "win32":
    import resource

__all__ = ["give_memory_back", "raise_descriptors"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h has them
_MMAP_FROM = 8 << 20
_TRIM_FROM = 2 * _MMAP_FROM
"""As glibc would put it; left at its 128 KiB, heaps would shrink and grow at every turn."""
_TUNED = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def give_memory_back() -> bool:
    """Let what large pictures took go back to the system; an operator's own setting stands.

    Returns:
        Whether there is a malloc that can be told so.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _TUNED):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc's
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _TRIM_FROM) and mallopt(_MMAP_THRESHOLD, _MMAP_FROM))


def raise_descriptors() -> None:
    """Take as many descriptors as the system lets us have: every connection needs one."""
    if sys.platform != "win32":
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):  # macOS names a limit that it does not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
