import torch

from training.grouping import GroupingHead, draw_clicks, grouping_loss

GRID = 12


def masks() -> torch.Tensor:
    """Of two images: a large one and a line thinner than a cell; one only."""
    drawn = torch.zeros((2, 2, 4 * GRID, 4 * GRID), dtype=torch.bool)
    drawn[0, 0, 8:28, 4:20] = True
    drawn[0, 1, 40, 4:40] = True
    drawn[1, 1, :16, 16:] = True
    return drawn


def test_clicks_are_in_the_cells_of_their_mask() -> None:
    torch.manual_seed(0)
    clicks = draw_clicks(masks(), 10, GRID)
    assert clicks.targets.shape == (2, 10, GRID, GRID)
    covered = clicks.targets.flatten(2).gather(2, clicks.places[..., None])
    assert (covered > 0).all()
    thick = clicks.targets.flatten(2).amax(2) == 1
    assert (covered[..., 0][thick] >= 0.5).all()


def test_features_that_tell_a_mask_from_the_rest_lose_less() -> None:
    torch.manual_seed(0)
    clicks = draw_clicks(masks(), 10, GRID)
    head = GroupingHead(24)
    with torch.no_grad():
        torch.nn.init.eye_(head.project.weight[:24, :, 0, 0])
    same = torch.zeros(2, 24, GRID, GRID)
    told = same.clone()
    told[0, 0] = 9 * clicks.targets[0].amax(0)
    told[1, 0] = 9 * clicks.targets[1, 0]
    blind, seeing = (grouping_loss(head, x, clicks) for x in (same, told))
    assert seeing < 0.7 * blind
