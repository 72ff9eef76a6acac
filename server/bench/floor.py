"""How far a decode and an encode are from what the machine could do at best.

Nothing takes less time than its products would as part of one large matrix product, nor less than
its bytes would as part of one large copy: the longer of the two is the floor (`floor_of`). Both
rates are measured in the same run, in the same numbers, on the same device and threads (`Limits`).
What there is to do is counted while it is done once (`Work`):

- operations: two for each multiplication and its addition, in matrix products, convolutions and
  attention. Norms, softmax and activations are left out, and all that is not torch's: cutting and
  drawing close-ups, resizing. Compiled code shows none: they are counted of the same networks
  before they are compiled. Those in float32 count as if they were in the faster numbers.
- bytes: each tensor that was there before and is read (weights, positions, embedding or pixels),
  once, as it is stored; and the answer (logits, or embedding), written once. What is made on the
  way is taken to stay in a cache. Weights may stay there too, from one click to the next: a floor
  of bytes can then be undercut, and so can any in numbers the device does not multiply natively.
  Memory is known by its address (packed weights by their tensor): what is freed meanwhile and used
  again for something else is taken for what it was at first, so counted too much or too little.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from statistics import median_low
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from server.bench.figures import figure, time_ms
from server.bench.machine import short_name
from server.bench.pictures import Picture
from server.bench.weights import official_decoder
from server.engine.models.base import Embedding, Model, run_steps
from server.engine.models.sam import SamModel
from server.engine.types import DecodeRequest, Prompt, RgbImage

__all__ = [
    "HIDDEN_BY_A_GRAPH",
    "Floor",
    "Limits",
    "Work",
    "counted",
    "decode_work",
    "encode_work",
    "floor_of",
    "limits_of",
    "official_click",
    "without_floor",
]

_SIDES = {"cpu": 2048, "cuda": 8192}
"""Of the square product: large enough to run at the device's full rate."""
_COPIED_BYTES = 256 << 20  # more than any cache holds
_ROUNDS = 9
_PATIENCE_MS = 10_000.0  # a CPU may take minutes for numbers it does not multiply natively

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the device does at best."""

    dtype: str
    operations_per_s: float
    """Of a large square matrix product."""
    bytes_per_s: float
    """Read and written by a large copy."""


@dataclass(frozen=True, slots=True, order=True)
class Work:
    """What there is to do at least."""

    operations: int
    moved_bytes: int


@dataclass(frozen=True, slots=True)
class Floor:
    """The least time some work can take here, and the time it takes."""

    floor_ms: float | None
    """None when there is none to tell."""
    reason: str | None = None
    """Why not."""
    measured_ms: float | None = None
    """A median."""
    times_the_floor: float | None = None
    """`measured_ms` over `floor_ms`; 1 could not be better."""
    bound_by: Literal["operations", "bytes"] | None = None
    """Which of the two takes longer."""
    work: Work | None = None
    limits: Limits | None = None


def floor_of(work: Work, limits: Limits, measured_ms: float) -> Floor:
    """The larger of the two floors, and how many times as long it took."""
    operations_ms = 1e3 * work.operations / limits.operations_per_s
    bytes_ms = 1e3 * work.moved_bytes / limits.bytes_per_s
    floor_ms = max(operations_ms, bytes_ms)
    return Floor(
        floor_ms=round(floor_ms, 4),
        measured_ms=measured_ms,
        times_the_floor=round(measured_ms / floor_ms, 4),
        bound_by="operations" if operations_ms >= bytes_ms else "bytes",
        work=work,
        limits=limits,
    )


HIDDEN_BY_A_GRAPH = "a graph recorded on a GPU shows no operations"


def without_floor(reason: str) -> Floor:
    """What is said in its place."""
    return Floor(floor_ms=None, reason=reason)


def limits_of(device: torch.device, dtype: torch.dtype, synchronize: Callable[[], None]) -> Limits:
    """Measure them, with torch's threads as they are; `synchronize` waits for the device."""
    side = _SIDES[device.type]
    left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    product = torch.empty_like(left)
    # Written before it is read: pages that nobody has written to are all one page of zeros.
    source = torch.ones(_COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product_ms = _median_ms(lambda: torch.mm(left, right, out=product), synchronize)
    copy_ms = _median_ms(lambda: target.copy_(source), synchronize)
    return Limits(
        dtype=short_name(dtype),
        operations_per_s=1e3 * 2 * side**3 / product_ms,
        bytes_per_s=1e3 * 2 * _COPIED_BYTES / copy_ms,
    )


def _median_ms(work: Callable[[], object], synchronize: Callable[[], None]) -> float:
    def to_the_end() -> None:
        work()
        synchronize()

    to_the_end()  # the first time memory is fetched and kernels are prepared
    taken_ms: list[float] = []
    while len(taken_ms) < _ROUNDS and sum(taken_ms) < _PATIENCE_MS:
        taken_ms.append(time_ms(to_the_end))
    return figure(taken_ms).median


def counted(work: Callable[[], _T], written: Callable[[_T], int]) -> Work:
    """Do `work` and count it; `written` says how many bytes its answer has."""
    with (
        FlopCounterMode(display=False, custom_mapping=_COUNTED_HERE) as operations,
        _Reads() as reads,
    ):
        answer = work()
    return Work(operations.get_total_flops(), reads.nbytes + written(answer))


def decode_work(model: Model, embedding: Embedding, picture: Picture) -> Work:
    """What a first click is, in the middle (by operations) of those at the picture's things.

    The bundled model does more for some clicks than for others.
    """
    return median_low([_click_work(model, embedding, one.x, one.y) for one in picture.rounds()])


def encode_work(model: Model, pixels: RgbImage) -> Work:
    """What an image is, from HxWx3 RGB to its embedding."""
    return counted(lambda: run_steps(model.encode(pixels)), lambda embedding: embedding.nbytes)


def official_click(dtype: torch.dtype) -> Work:
    """A first click at SAM's dimensions, on a 1024 x 768 image.

    Counted on the CPU wherever it is timed (`HIDDEN_BY_A_GRAPH`).
    """
    cpu = torch.device("cpu")
    model = SamModel(official_decoder(), name="sam", fingerprint="bench", device=cpu, dtype=dtype)
    embedding = run_steps(model.encode(np.zeros((768, 1024, 3), np.uint8)))
    return _click_work(model, embedding, 512.0, 384.0)


def _click_work(model: Model, embedding: Embedding, x: float, y: float) -> Work:
    request = DecodeRequest(Prompt(points=((x, y, 1),)), "best")
    return counted(
        lambda: model.decode([(embedding, request)]),
        lambda answers: sum(answer.logits.nbytes for answer in answers),
    )


class _Reads(TorchDispatchMode):
    """Watches which memory is read that was not made meanwhile."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's
        self._found: dict[int, int] = {}
        self._made: set[int] = set()

    @property
    def nbytes(self) -> int:
        """Of all of it, each byte once."""
        return sum(self._found.values())

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever `func` returns
        for place, nbytes in _storages((args, kwargs)):
            if place not in self._made:
                self._found[place] = nbytes
        answer = func(*args, **(kwargs or {}))
        self._made |= {place for place, _ in _storages(answer) if place not in self._found}
        return answer


def _storages(values: object) -> list[tuple[int, int]]:
    """Address and bytes of each tensor's memory."""
    return [_storage(value) for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def _storage(tensor: torch.Tensor) -> tuple[int, int]:
    if tensor.is_mkldnn:  # packed by a library that keeps the memory to itself
        return id(tensor), tensor.nbytes
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


def _attention_operations(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object
) -> int:
    """Of (batch x heads x rows x channels) shapes: the scores, and what is mixed by them."""
    batch, heads, rows, channels = query
    return 2 * batch * heads * rows * key[2] * (channels + value[3])


def _packed_operations(rows: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    """Of ...xI rows and an OxI weight."""
    return 2 * prod(rows[:-1]) * prod(weight)


# torch counts attention on GPUs and knows nothing of the CPU's, nor of packed weights.
_COUNTED_HERE: dict[object, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_operations  # noqa: SLF001
}
if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
    _COUNTED_HERE[torch.ops.mkldnn._linear_pointwise] = _packed_operations  # noqa: SLF001
