import pytest
import torch
from torch import Tensor, nn

from server.engine.models.decoder.compiled import CompiledCore

CHANNELS = 5


class Core(nn.Module):
    """Tells who answered: while it is recorded it answers otherwise than when it is called."""

    def forward(
        self, xy: Tensor, kinds: Tensor, single: Tensor, masks: int, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The sum of all, and whether this is a recording."""
        told = xy.sum((1, 2)) + kinds.sum(1) + single + masks + keys.sum((1, 2))
        recorded = 1.0 if torch.onnx.is_in_onnx_export() else 0.0
        return told, told * 0 + recorded


@pytest.mark.parametrize(("tokens", "by_recording"), [(7, 1.0), (11, 1.0), (12, 0.0), (72, 0.0)])
def test_rows_of_many_tokens_are_decoded_eagerly(tokens: int, by_recording: float) -> None:
    core = CompiledCore(Core(), [torch.zeros(6, CHANNELS)], threads=1, below=12)
    _, who = core(
        torch.zeros(1, tokens - 5, 2),
        torch.zeros(1, tokens - 5, dtype=torch.int64),
        torch.zeros(1, dtype=torch.bool),
        1,
        torch.zeros(1, 6, CHANNELS),
    )
    assert who.item() == by_recording
