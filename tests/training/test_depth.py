import pytest
import torch

from server.engine.models.tiny.networks import ContextBlock
from training.depth import LAST_SHARE, leave_out_at_random

SAMPLES = 2000


@pytest.fixture
def blocks() -> list[ContextBlock]:
    torch.manual_seed(0)
    made = [ContextBlock(16, 2) for _ in range(4)]
    leave_out_at_random(made)
    return made


def left_out(block: ContextBlock, half: torch.nn.Module) -> float:
    """The share of samples for which a half of a block answers nothing."""
    torch.manual_seed(1)
    answers = half(torch.randn(SAMPLES, 1, block.norm1.normalized_shape[0]))
    return float((answers == 0).all(-1).float().mean())


def test_later_blocks_are_left_out_more_often(blocks: list[ContextBlock]) -> None:
    for half in ("proj", "mlp"):
        shares = [left_out(block, getattr(block, half)) for block in blocks]
        expected = [LAST_SHARE * number / 4 for number in (1, 2, 3, 4)]
        assert shares == pytest.approx(expected, abs=0.03)


def test_on_the_mean_nothing_changes(blocks: list[ContextBlock]) -> None:
    block = blocks[-1]
    x = torch.randn(1, 3, 16)
    trained = block.attend(x.expand(SAMPLES, -1, -1)).mean(0)
    torch.testing.assert_close(trained, block.eval().attend(x)[0], atol=0.05, rtol=0.05)


def test_a_block_that_does_not_train_is_whole(blocks: list[ContextBlock]) -> None:
    block = blocks[-1].eval()
    assert left_out(block, block.mlp) == 0
