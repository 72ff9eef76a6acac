import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from server.engine.models.tiny.quantization import QUANTIZED_FROM, dequantized, quantized


@given(st.integers(0, 2**32 - 1), st.floats(1e-4, 1e3))
@settings(max_examples=20)
def test_a_large_matrix_comes_back_within_half_a_step_of_each_row(seed: int, size: float) -> None:
    weights = size * torch.randn(
        64, QUANTIZED_FROM // 64, generator=torch.Generator().manual_seed(seed)
    )
    weights[7] = 0.0
    back = dequantized(quantized({"w": weights}))["w"]
    steps = weights.abs().amax(dim=1, keepdim=True) / 127
    assert ((back - weights).abs() <= 0.501 * steps + 1e-9).all()
    assert (back[7] == 0).all()


def test_a_large_matrix_takes_a_byte_a_weight() -> None:
    stored = quantized({"w": torch.randn(256, 256, 1, 1)})
    assert sum(value.nbytes for value in stored.values()) == 256 * 256 + 4 * 256


def test_biases_small_matrices_and_counters_are_kept_in_half_precision_or_whole() -> None:
    state = {
        "bias": torch.randn(100_000),
        "small": torch.randn(8, 8),
        "seen": torch.tensor(123_456_789),
    }
    back = dequantized(quantized(state))
    torch.testing.assert_close(back["bias"], state["bias"], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(back["small"], state["small"], rtol=1e-3, atol=1e-6)
    assert back["seen"] == 123_456_789
    assert list(back) == list(state)
