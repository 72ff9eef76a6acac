"""When a core is recorded, and when not; that it answers the same is in `test_decoder`."""

import pytest
import torch
from torch import Tensor, nn

from server.engine.models.decoder.traced import TracedCore, tracing_pays

CHANNELS = 5


class Core(nn.Module):
    """Counts how often Python runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(
        self, xy: Tensor, kinds: Tensor, single: Tensor, masks: int, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Something of all that it is given, for each mask."""
        self.runs += 1
        told = xy.sum((1, 2)) + kinds.sum(1) + single + keys.sum((1, 2))
        return told.unsqueeze(1).expand(-1, masks), keys.mean((1, 2))


def asked(
    rows: int, tokens: int, masks: int, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    xy = torch.rand(rows, tokens, 2, generator=generator)
    kinds = torch.randint(0, 4, (rows, tokens), generator=generator)
    single = torch.rand(rows, generator=generator) > 0.5
    return xy, kinds, single, masks, torch.rand(rows, 6, CHANNELS, generator=generator)


def test_a_shape_is_recorded_once_and_python_runs_no_more_after_that() -> None:
    core = Core()
    traced = TracedCore(core)
    shapes = [(2, 1), (2, 3), (7, 1)]
    for tokens, masks in shapes:
        traced(*asked(1, tokens, masks))
    recorded = core.runs
    for seed, (tokens, masks) in enumerate(shapes * 3):
        inputs = asked(1, tokens, masks, seed)
        for found, expected in zip(traced(*inputs), Core()(*inputs), strict=True):
            torch.testing.assert_close(found, expected)
    assert core.runs == recorded
    assert len(traced._recordings) == len(shapes)


def test_several_rows_are_never_recorded() -> None:
    core = Core()
    traced = TracedCore(core)
    for count in range(3):
        traced(*asked(2, 2, 1))
        assert core.runs == count + 1
    assert not traced._recordings


def test_a_torch_that_records_nothing_decodes_eagerly_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def is_gone(*_: object, **__: object) -> None:
        raise RuntimeError("torch.jit.trace is no more")

    monkeypatch.setattr(torch.jit, "trace", is_gone)
    core = Core()
    traced = TracedCore(core)
    inputs = asked(1, 2, 3)
    for _ in range(2):
        for found, expected in zip(traced(*inputs), Core()(*inputs), strict=True):
            torch.testing.assert_close(found, expected)
    assert core.runs == 2
    assert caplog.text.count("could not record") == 1


def test_no_room_to_record_is_no_reason_to_decode_eagerly_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def is_full(*_: object, **__: object) -> None:
        torch.empty(1 << 50)

    traced = TracedCore(Core())
    with monkeypatch.context() as patched:
        patched.setattr(torch.jit, "trace", is_full)
        with pytest.raises(RuntimeError, match="allocate memory"):
            traced(*asked(1, 2, 1))
    assert not traced._recordings


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [("cpu", "bfloat16", True), ("cpu", "float32", False), ("cuda", "bfloat16", False)],
)
def test_it_is_for_reduced_precision_on_a_cpu(device: str, dtype: str, *, expected: bool) -> None:
    assert tracing_pays(torch.device(device), getattr(torch, dtype)) is expected
