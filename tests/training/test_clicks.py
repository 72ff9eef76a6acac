import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.clicks import choose_targets, click_in, depth_of, extents

SIDE = 96


def box(x0: int, y0: int, x1: int, y1: int) -> Tensor:
    region = torch.zeros((SIDE, SIDE), dtype=torch.bool)
    region[y0:y1, x0:x1] = True
    return region


@st.composite
def regions(draw: st.DrawFn) -> Tensor:
    """Two rectangles, which may lie apart."""
    parts = []
    for _ in range(2):
        x, y = draw(st.integers(0, SIDE - 1)), draw(st.integers(0, SIDE - 1))
        wide, high = draw(st.integers(1, SIDE)), draw(st.integers(1, SIDE))
        parts.append(box(x, y, min(x + wide, SIDE), min(y + high, SIDE)))
    return parts[0] | parts[1]


@given(region=regions(), centred=st.booleans())
def test_a_click_is_in_its_region(region: Tensor, centred: bool) -> None:
    (x, y), *_ = (click_in(region[None], torch.tensor([centred])) * SIDE).int().tolist()
    assert region[y, x]


def test_a_centred_click_is_in_the_middle() -> None:
    clicks = click_in(box(10, 20, 50, 60)[None].expand(50, -1, -1), torch.ones(50).bool()) * SIDE
    assert (clicks - torch.tensor([30.0, 40.0])).abs().max() < 5


def test_another_click_is_anywhere() -> None:
    clicks = click_in(box(10, 20, 50, 60)[None].expand(200, -1, -1), torch.zeros(200).bool()) * SIDE
    low, high = clicks.aminmax(dim=0)
    assert (low < torch.tensor([14, 24])).all()
    assert (high > torch.tensor([46, 56])).all()


def test_a_region_is_as_deep_as_half_its_width() -> None:
    strips = [box(0, 2, 8, 90), box(SIDE - 8, 2, SIDE, 90), box(3, 4, 95, 16)]
    many = torch.stack([box(10, 20, 50, 60), *strips, box(0, 0, SIDE, SIDE)])
    expected = torch.tensor([20.0, 4.0, 4.0, 6.0, 48.0])
    assert ((depth_of(many) - expected).abs() <= 0.2 * expected + 0.5).all()


def test_nothing_has_no_depth_reaches_over_everything_and_is_clicked_at_its_first_pixel() -> None:
    empty = torch.zeros((1, SIDE, SIDE), dtype=torch.bool)
    assert depth_of(empty).item() == 0
    low, high = extents(empty)
    assert (low.tolist(), high.tolist()) == ([[0, 0]], [[SIDE, SIDE]])
    assert (click_in(empty, torch.tensor([True])) * SIDE).int().tolist() == [[0, 0]]


@given(region=regions())
def test_extents_are_those_of_what_is_in_the_region(region: Tensor) -> None:
    ys, xs = region.nonzero().unbind(1)
    low, high = extents(region[None])
    assert low[0].tolist() == [xs.min(), ys.min()]
    assert high[0].tolist() == [xs.max() + 1, ys.max() + 1]


def test_targets_are_all_different_while_there_are() -> None:
    masks = torch.zeros((1, 5, SIDE, SIDE), dtype=torch.bool)
    masks[0, [1, 3, 4], 5:9] = True
    assert sorted(choose_targets(masks, 3)[0].tolist()) == [1, 3, 4]
    assert sorted(choose_targets(masks, 6)[0].tolist()) == [1, 1, 3, 3, 4, 4]
