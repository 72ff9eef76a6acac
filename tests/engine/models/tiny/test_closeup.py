import torch

from server.engine.models.tiny.closeup import CONTEXT_CELLS, CloseUp
from server.engine.models.tiny.layers import fold_norms
from server.engine.models.tiny.networks import EMBED_DIM
from server.engine.second_look.planes import LOGITS_PLANE, PLANES
from server.engine.second_look.window import CELLS


def views(count: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    seen = torch.randn(count, PLANES, CELLS, CELLS, generator=generator)
    around = torch.randn(count, EMBED_DIM, CONTEXT_CELLS, CONTEXT_CELLS, generator=generator)
    return seen, around, torch.rand(count, generator=generator)


def trained() -> CloseUp:
    """As if trained: no weight where it started."""
    torch.manual_seed(0)
    network = CloseUp(EMBED_DIM)
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    with torch.no_grad():
        network.train()(*views(4))
    return network.eval().requires_grad_(requires_grad=False)


def test_untrained_it_gives_back_what_the_first_look_said() -> None:
    seen, around, scores = views()
    logits, judged = CloseUp(EMBED_DIM).eval()(seen, around, scores)
    torch.testing.assert_close(logits, 2 * seen[:, LOGITS_PLANE])
    torch.testing.assert_close(judged, scores)


def test_every_plane_and_the_context_matter() -> None:
    network, (seen, around, scores) = trained(), views(1)
    before, _ = network(seen, around, scores)
    for plane in range(PLANES):
        other = seen.clone()
        other[:, plane] += 1.0
        assert (network(other, around, scores)[0] - before).abs().max() > 1e-3, plane
    assert (network(seen, around + 1.0, scores)[0] - before).abs().max() > 1e-3


def test_its_verdict_is_on_what_it_saw_and_on_the_earlier_one() -> None:
    network, (seen, around, scores) = trained(), views(1)
    _, before = network(seen, around, scores)
    assert (network(-seen, around, scores)[1] - before).abs().max() > 1e-4
    assert (network(seen, around, scores + 0.1)[1] - before).abs().max() > 1e-2


def test_no_close_up_depends_on_another() -> None:
    network, shown = trained(), views(3)
    together = network(*shown)
    for row in range(3):
        alone = network(*(part[row : row + 1] for part in shown))
        for one, other in zip(together, alone, strict=True):
            torch.testing.assert_close(one[row : row + 1], other, atol=1e-4, rtol=1e-4)


def test_folding_the_norms_changes_nothing() -> None:
    network, shown = trained(), views()
    expected = network(*shown)
    fold_norms(network)
    torch.testing.assert_close(network(*shown), expected, atol=1e-4, rtol=1e-4)
