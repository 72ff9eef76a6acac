import torch

from server.engine.closeup import CELLS, PLANES
from server.engine.models.closeup import CONTEXT_CELLS, LOGITS_PLANE, CloseUp
from server.engine.models.layers import fold_norms


def views(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(count, PLANES, CELLS, CELLS, generator=generator)
    return seen, torch.randn(count, 128, CONTEXT_CELLS, CONTEXT_CELLS, generator=generator)


def trained() -> CloseUp:
    """As if trained: no weight where it started."""
    torch.manual_seed(0)
    network = CloseUp(128)
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    with torch.no_grad():
        network.train()(*views(4))
    return network.eval().requires_grad_(requires_grad=False)


def test_untrained_it_gives_back_the_first_looks_logits() -> None:
    seen, around = views()
    answer = CloseUp(128).eval()(seen, around)
    torch.testing.assert_close(answer, 2 * seen[:, LOGITS_PLANE])


def test_every_plane_and_the_context_matter() -> None:
    network, (seen, around) = trained(), views(1)
    before = network(seen, around)
    for plane in range(PLANES):
        other = seen.clone()
        other[:, plane] += 1.0
        assert (network(other, around) - before).abs().max() > 1e-3, plane
    assert (network(seen, around + 1.0) - before).abs().max() > 1e-3


def test_no_close_up_depends_on_another() -> None:
    network, (seen, around) = trained(), views(3)
    together = network(seen, around)
    for row in range(3):
        alone = network(seen[row : row + 1], around[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-4, rtol=1e-4)


def test_folding_the_norms_changes_nothing() -> None:
    network, (seen, around) = trained(), views()
    expected = network(seen, around)
    fold_norms(network)
    torch.testing.assert_close(network(seen, around), expected, atol=1e-4, rtol=1e-4)
