"""Packed linear layers answer as plain ones, and give way where nothing can be packed."""

import copy
import platform
import weakref
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from server.engine.models.upstream import MLPBlock
from server.engine.models.vit import packed
from server.engine.models.vit.packed import PackedLinear, pack_linears


def can_pack(dtype: torch.dtype) -> bool:
    try:
        PackedLinear(nn.Linear(8, 8, dtype=dtype), 1)
    except (RuntimeError, AttributeError):
        return False
    return True


needs_packing = pytest.mark.skipif(
    not can_pack(torch.float32), reason="this torch packs no weights"
)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(16, 24, bias=False), nn.LayerNorm(24))
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), inner).requires_grad_(requires_grad=False)


def layers(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(layer, kind) for layer in network.modules())


@pytest.mark.skipif(platform.machine() != "x86_64", reason="elsewhere torch may have no oneDNN")
def test_float32_is_packed_where_the_images_that_are_timed_are_encoded() -> None:
    assert can_pack(torch.float32)


@needs_packing
@given(
    shape=st.lists(st.integers(0, 5), max_size=3),
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 40),
    bias=st.booleans(),
    rows=st.integers(1, 300),
)
def test_a_packed_layer_answers_as_the_plain_one_whatever_the_shape(
    shape: list[int], inputs: int, outputs: int, bias: bool, rows: int
) -> None:
    linear = nn.Linear(inputs, outputs, bias=bias).requires_grad_(requires_grad=False)
    x = torch.randn(*shape, 1, inputs)
    torch.testing.assert_close(PackedLinear(linear, rows)(x), linear(x), atol=1e-5, rtol=1e-4)


@pytest.mark.skipif(
    not can_pack(torch.bfloat16), reason="this processor multiplies no packed bfloat16"
)
def test_a_packed_layer_in_bfloat16_answers_as_the_plain_one() -> None:
    linear = nn.Linear(64, 48, dtype=torch.bfloat16).requires_grad_(requires_grad=False)
    x = torch.randn(7, 64, dtype=torch.bfloat16)
    answer = PackedLinear(linear, 128)(x)
    assert answer.dtype == torch.bfloat16
    torch.testing.assert_close(answer, linear(x), atol=0.02, rtol=0.02)


@needs_packing
def test_every_linear_layer_of_a_network_is_packed_and_its_plain_weight_let_go() -> None:
    changed = network()
    pack_linears(changed, 4)
    assert (layers(changed, PackedLinear), layers(changed, nn.Linear)) == (2, 0)
    kept = {name for name, _ in changed.named_parameters()}
    assert kept == {"0.bias", "2.1.weight", "2.1.bias"}
    x = torch.randn(3, 8)
    torch.testing.assert_close(changed(x), network()(x), atol=1e-5, rtol=1e-4)


@needs_packing
def test_the_gelu_of_an_mlp_is_made_part_of_its_first_product() -> None:
    torch.manual_seed(0)
    mlp = MLPBlock(8, 24).requires_grad_(requires_grad=False)
    packed_mlp = copy.deepcopy(mlp)
    pack_linears(packed_mlp, 4)
    x = 3 * torch.randn(50, 8)
    inner = nn.functional.gelu(mlp.lin1(x))
    torch.testing.assert_close(packed_mlp.lin1(x), inner, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed_mlp(x), mlp(x), atol=1e-5, rtol=1e-5)


@needs_packing
@pytest.mark.parametrize("act", [lambda: nn.GELU(approximate="tanh"), nn.ReLU])
def test_another_activation_stays_where_it_is(act: type[nn.Module]) -> None:
    torch.manual_seed(0)
    mlp = MLPBlock(8, 24, act=act).requires_grad_(requires_grad=False)
    packed_mlp = copy.deepcopy(mlp)
    pack_linears(packed_mlp, 4)
    x = 3 * torch.randn(50, 8)
    torch.testing.assert_close(packed_mlp(x), mlp(x), atol=1e-5, rtol=1e-5)


def refuse(*_: object) -> Tensor:
    raise RuntimeError("this processor cannot")


def refuse_gelu(x: Tensor, weight: Tensor, bias: Tensor, then: str, *_: object) -> Tensor:
    return refuse() if then == "gelu" else nn.functional.linear(x, weight, bias)


@pytest.mark.parametrize(
    "operators",
    [
        SimpleNamespace(),
        SimpleNamespace(_reorder_linear_weight=refuse),
        SimpleNamespace(
            _reorder_linear_weight=lambda weight, _rows: weight, _linear_pointwise=refuse
        ),
        SimpleNamespace(
            _reorder_linear_weight=lambda weight, _rows: weight, _linear_pointwise=refuse_gelu
        ),
    ],
    ids=["no operators", "it cannot pack", "it cannot multiply", "it has no GELU"],
)
def test_where_nothing_can_be_packed_the_network_stays_as_it_is_and_the_log_says_so(
    operators: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(packed, "_operators", operators)
    same = network()
    with caplog.at_level("INFO"):
        pack_linears(same, 4)
    assert "unpacked" in caplog.text
    assert (layers(same, PackedLinear), layers(same, nn.Linear)) == (0, 2)
    torch.testing.assert_close(same(torch.ones(2, 8)), network()(torch.ones(2, 8)))


@needs_packing
def test_running_out_of_memory_is_no_refusal_to_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    reorder = packed._operators._reorder_linear_weight

    def full(weight: Tensor, rows: int) -> Tensor:
        if weight.shape == (24, 16):
            raise RuntimeError("could not allocate")
        packed_weight: Tensor = reorder(weight, rows)
        return packed_weight

    multiply = packed._operators._linear_pointwise
    room = SimpleNamespace(_reorder_linear_weight=full, _linear_pointwise=multiply)
    monkeypatch.setattr(packed, "_operators", room)
    with pytest.raises(RuntimeError, match="could not allocate"):
        pack_linears(network(), 4)


@needs_packing
def test_one_plain_weight_at_a_time_is_held_beside_its_packed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers_left: list[int] = []
    changed = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3)))
    plain = [weakref.ref(layer) for layer in changed]

    class Watched(PackedLinear):
        def __init__(self, linear: nn.Linear, rows: int, *, gelu: bool = False) -> None:
            layers_left.append(sum(layer() is not None for layer in plain))
            super().__init__(linear, rows, gelu=gelu)

    monkeypatch.setattr(packed, "PackedLinear", Watched)
    pack_linears(changed, 4)
    assert layers_left[1:] == [3, 2, 1]  # the first is the probe
