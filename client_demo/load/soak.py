"""Does the server's memory grow with use? Thousands of never-seen images, one after the other.

Each is opened and clicked once, with the Python client; sessions come and go meanwhile. A line
through the resident memory says what an open leaves behind. The first fifth is left out: until then
the cache fills, and allocators take what they will keep.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from client_demo.client import connect
from client_demo.load.pictures import Pictures

__all__ = ["LEAST_OPENS", "SETTINGS", "Sample", "Soaked", "slope_kib", "soak"]

LEAST_OPENS = 100  # fewer would make a line of noise
_SAMPLES = 100
_OPENS_A_SESSION = 200
_SETTLES_AFTER = 0.2  # of all opens
_UNLIMITED = 1_000_000_000

SETTINGS = {
    # So little that it is full, and evicts, long before the line begins: 64 embeddings of the fake.
    "cache_bytes": 4 << 20,
    # One client does the work of hundreds.
    "segments_per_s": _UNLIMITED,
    "segment_burst": _UNLIMITED,
    "messages_per_s": _UNLIMITED,
}
"""What a server that is soaked is started with."""


@dataclass(frozen=True, slots=True)
class Sample:
    """After so many opens."""

    opens: int
    resident_bytes: int


@dataclass(frozen=True)
class Soaked:
    """A soak, measured."""

    samples: tuple[Sample, ...]

    @property
    def kib_an_open(self) -> float:
        """What an open leaves behind."""
        return slope_kib(self.samples)

    def lines(self) -> list[str]:
        """For people."""
        settled = _settled(self.samples)
        first, last = settled[0], settled[-1]
        return [
            f"soak: {last.opens} images opened one after the other",
            "",
            f"  resident: {_mib(first)} after {first.opens}, {_mib(last)} after {last.opens}",
            f"  {self.kib_an_open:.3f} KiB an open: a line through {len(settled)} samples",
            "",
        ]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "kib_an_open": self.kib_an_open,
            "samples": [asdict(sample) for sample in self.samples],
        }


async def soak(
    url: str, token: str | None, pictures: Pictures, opens: int, resident_bytes: Callable[[], int]
) -> AsyncIterator[Sample]:
    """Open so many images, and look at the memory every so often.

    Args:
        url: of the server's socket.
        token: if it wants one.
        pictures: what is opened; small ones, as the pixels are not what is measured.
        opens: how many.
        resident_bytes: reads the server's memory.

    Raises:
        SamwireError: the server went away, or would not.
    """
    every = max(1, opens // _SAMPLES)
    for first in range(0, opens, _OPENS_A_SESSION):
        async with connect(url, token=token, name="samwire-soak") as sam:
            for done in range(first + 1, min(first + _OPENS_A_SESSION, opens) + 1):
                image = await sam.open(pictures.next())
                await sam.segment(points=[(image.width / 2, image.height / 2)])
                if done % every == 0 or done == opens:
                    yield Sample(done, resident_bytes())


def slope_kib(samples: Sequence[Sample]) -> float:
    """KiB an open: of the line of least squares through the samples after the first fifth."""
    settled = _settled(samples)
    opens = np.array([sample.opens for sample in settled], np.float64)
    resident = np.array([sample.resident_bytes for sample in settled], np.float64)
    slope, _ = np.polyfit(opens, resident, 1)
    return float(slope) / 1024


def _settled(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.opens >= _SETTLES_AFTER * samples[-1].opens]


def _mib(sample: Sample) -> str:
    return f"{sample.resident_bytes / (1 << 20):.1f} MiB"
