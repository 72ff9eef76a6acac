"""What ONNX Runtime makes of a network; the decoder's own is in `decoder/test_batched`."""

import weakref
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from torch import Tensor, nn

from server.engine.models.base import OutOfMemoryError
from server.engine.models.device import translating
from server.engine.models.recording.onnx_runtime import (
    EXAMPLE_ROWS,
    SLOWER_FUSIONS,
    SPIN_US,
    Compiled,
    _record,
    compiling_pays,
)

CHANNELS = 5


class Mixer(nn.Module):
    """Of rows of any length, and a number: something that depends on every value."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weigh = nn.Linear(CHANNELS, 3)

    def forward(self, rows: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
        """BxTxC to Bx`most`x3 and B."""
        weighed = self.weigh(rows).softmax(dim=1)
        return weighed.sort(dim=1, descending=True).values[:, :most], rows.sum((1, 2))


@pytest.fixture(scope="module")
def network() -> Mixer:
    return Mixer().eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def compiled(network: Mixer) -> Compiled:
    example = {"rows": torch.zeros(EXAMPLE_ROWS, 4, CHANNELS), "most": torch.tensor(2)}
    return Compiled(network, example, threads=1, free={"rows": 1})


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 4), length=st.integers(3, 6), most=st.integers(1, 3), seed=st.integers(0)
)
def test_any_number_of_rows_of_any_length_is_answered_as_the_network_answers(
    network: Mixer, compiled: Compiled, count: int, length: int, most: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed % 2**31)
    rows = torch.randn(count, length, CHANNELS, generator=generator)
    expected = network(rows, torch.tensor(most))
    torch.testing.assert_close(compiled(rows, torch.tensor(most)), expected)


def test_a_single_row_s_shape_is_planned_once(network: Mixer) -> None:
    example = {"rows": torch.zeros(EXAMPLE_ROWS, 4, CHANNELS), "most": torch.tensor(2)}
    compiled = Compiled(network, example, threads=1, free={"rows": 1})
    for length in (3, 4, 3):
        compiled(torch.zeros(1, length, CHANNELS), torch.tensor(1))
        compiled(torch.zeros(2, length, CHANNELS), torch.tensor(1))
    assert len(compiled._plans) == 2


def test_what_the_runtime_cannot_answer_is_a_runtime_error_in_its_words(
    compiled: Compiled,
) -> None:
    with pytest.raises(RuntimeError, match="rows"):
        compiled(torch.zeros(2, 4, CHANNELS + 1), torch.tensor(1))


def test_its_errors_keep_nothing_of_the_call_alive(compiled: Compiled) -> None:
    wrong = torch.zeros(2, 4, CHANNELS + 1)
    kept = weakref.ref(wrong)
    with pytest.raises(RuntimeError) as raised:
        compiled(wrong, torch.tensor(1))
    error = raised.value
    error.__traceback__ = None
    del wrong, raised
    assert error.__context__ is None
    assert kept() is None


def test_no_room_for_a_new_plan_is_out_of_memory_in_the_engine_s_words(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_sizes: object) -> None:
        raise Fail("Exception during loading: std::bad_alloc")

    monkeypatch.setattr(compiled, "_plan", no_room)
    with pytest.raises(OutOfMemoryError):
        translating(compiled)(torch.zeros(1, 9, CHANNELS), torch.tensor(1))


class Normed(nn.Module):
    """What the runtime would fuse."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Two BxTxC to the same."""
        normed: Tensor = self.norm(one + other)
        return normed


@pytest.mark.parametrize("left_out", [True, False])
def test_the_fusion_that_is_slower_is_left_out(tmp_path: Path, *, left_out: bool) -> None:
    example = {name: torch.zeros(EXAMPLE_ROWS, 4, CHANNELS) for name in ("one", "other")}
    planned = tmp_path / "planned.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(planned)
    onnxruntime.InferenceSession(
        _record(Normed().eval(), example, {}),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=SLOWER_FUSIONS if left_out else [],
    )
    kinds = {node.op_type for node in onnx.load(planned).graph.node}
    assert ("SkipLayerNormalization" in kinds) is not left_out


def test_an_answer_is_the_caller_s_to_keep(compiled: Compiled) -> None:
    kept, _ = compiled(torch.ones(1, 4, CHANNELS), torch.tensor(2))
    before = kept.clone()
    compiled(torch.randn(1, 4, CHANNELS), torch.tensor(2))
    assert torch.equal(kept, before)


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [("cpu", "float32", True), ("cpu", "bfloat16", False), ("cuda", "float32", False)],
)
def test_it_is_for_float32_on_a_cpu(device: str, dtype: str, *, expected: bool) -> None:
    assert compiling_pays(torch.device(device), getattr(torch, dtype)) is expected


def test_threads_wait_for_each_other_a_moment_and_between_calls_not_at_all(
    network: Mixer,
) -> None:
    example = {"rows": torch.zeros(EXAMPLE_ROWS, 4, CHANNELS), "most": torch.tensor(2)}
    options = Compiled(network, example, threads=2)._any_shape.get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.get_session_config_entry("session.intra_op.spin_duration_us") == str(SPIN_US)
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
