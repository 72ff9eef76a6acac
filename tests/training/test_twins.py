"""Training sees what serving sees: each torch function beside the numpy one it is the twin of."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from server.engine.models.tiny import painting
from server.engine.second_look.colours import ColourCube
from server.engine.second_look.planes import PIXEL_MEAN, PIXEL_STD, PLANES, closeup_planes
from server.engine.second_look.window import CELLS, Window, crop, enlarge, resampling, window_around
from server.engine.tokens import BOTTOM_RIGHT, EXCLUDE, INCLUDE, TOP_LEFT, Token
from training import twins

SIDE = 96
PAD = -1
CLICK_PLANES = (5, 6)

Field = NDArray[np.float32]

places = st.floats(0.02, 0.98)


@st.composite
def prompts(draw: st.DrawFn) -> list[Token]:
    """A box, some clicks, or both."""
    tokens: list[Token] = []
    if draw(st.booleans()):
        x0, y0 = draw(st.floats(0, 0.8)), draw(st.floats(0, 0.8))
        wide, high = draw(st.floats(0.03, 0.9)), draw(st.floats(0.03, 0.9))
        tokens += [(x0, y0, TOP_LEFT), (min(x0 + wide, 1), min(y0 + high, 1), BOTTOM_RIGHT)]
    clicks = draw(st.lists(st.tuples(places, places, st.sampled_from([EXCLUDE, INCLUDE]))))
    return tokens + clicks[:4] or [(0.5, 0.5, INCLUDE)]


def stacked(many: list[list[Token]]) -> tuple[Tensor, Tensor]:
    """Points and labels of prompts, padded to one length."""
    longest = max(map(len, many))
    rows = [[*tokens, *[(0.0, 0.0, PAD)] * (longest - len(tokens))] for tokens in many]
    values = torch.tensor(rows, dtype=torch.float64)
    return values[:, :, :2].float(), values[:, :, 2].long()


def field(seed: int, side: int = SIDE) -> Field:
    """Smooth logits, a blob or a few."""
    rough = np.random.default_rng(seed).normal(-0.5, 4, (7, 7)).astype(np.float32)
    return np.asarray(cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def fields(count: int, side: int = SIDE) -> tuple[list[Field], Tensor]:
    planes = [field(seed, side) for seed in range(count)]
    return planes, torch.from_numpy(np.stack(planes))


@given(many=st.lists(prompts(), min_size=1, max_size=5))
def test_prompts_are_painted_alike(many: list[list[Token]]) -> None:
    planes, priors = fields(len(many))
    known = torch.arange(len(many)) % 2 == 1
    got = twins.paint(*stacked(many), priors, known, SIDE)
    for row, tokens, plane, remembered in zip(got, many, planes, known, strict=True):
        prior = plane if remembered else None
        expected = painting.paint_prompt(tokens, prior, SIDE)
        assert (np.abs(row.numpy() - expected) > 1e-3).sum() <= 2  # a click's rim, by rounding


@given(many=st.lists(prompts(), min_size=1, max_size=5))
def test_answers_are_fitted_to_their_box_alike(many: list[list[Token]]) -> None:
    planes, logits = fields(len(many))
    points, labels = stacked(many)
    got = twins.fit_to_box(logits, points, labels)
    for row, tokens, plane in zip(got, many, planes, strict=True):
        expected = painting.fit_to_box(plane[None], tokens)[0]
        np.testing.assert_allclose(row, expected, atol=1e-3)


@given(many=st.lists(prompts(), min_size=1, max_size=5), pixels=st.sampled_from([97, 480, 640]))
def test_windows_lie_alike(many: list[list[Token]], pixels: int) -> None:
    planes, logits = fields(len(many))
    got = twins.windows_around(logits, *stacked(many), pixels)
    for row, tokens, plane in zip(got, many, planes, strict=True):
        expected = window_around(plane, tokens, pixels)
        # Half a pixel is rounded to even by both, unless single precision misses it.
        wanted = [expected.x, expected.y, expected.side]
        step = max(1, pixels // CELLS)  # sides are whole numbers of it
        np.testing.assert_allclose(row, wanted, atol=1.01 * step / pixels)


def test_windows_around_nothing_are_the_whole_and_around_a_line_a_little() -> None:
    empty = np.full((SIDE, SIDE), -1, np.float32)
    line = empty.copy()
    line[40:60, 50] = 1
    tokens: list[list[Token]] = [[(0.3, 0.3, EXCLUDE)], [(0.5, 0.5, INCLUDE)]]
    got = twins.windows_around(torch.from_numpy(np.stack([empty, line])), *stacked(tokens), 640)
    for row, plane, one in zip(got, (empty, line), tokens, strict=True):
        expected = window_around(plane, one, 640)
        np.testing.assert_allclose(row, [expected.x, expected.y, expected.side], atol=1e-6)


@given(many=st.lists(prompts(), min_size=1, max_size=4))
def test_logits_are_enlarged_alike(many: list[list[Token]]) -> None:
    planes, logits = fields(len(many))
    windows = [window_around(p, t, 640) for p, t in zip(planes, many, strict=True)]
    rows = torch.tensor([[w.x, w.y, w.side] for w in windows])
    got = twins.enlarge(logits, rows)
    for row, plane, window in zip(got, planes, windows, strict=True):
        # cv2 counts places in thirty-seconds of a cell.
        np.testing.assert_allclose(row, enlarge(plane, window), atol=0.2)


@given(start=st.floats(-0.5, 0.9), side=st.floats(0.05, 1), size=st.integers(4, 48))
def test_axes_are_resampled_alike(start: float, side: float, size: int) -> None:
    got = twins.resampling(torch.tensor([start]), torch.tensor([side]), size, 12)
    np.testing.assert_allclose(got[0], resampling(start, side, size, 12), atol=1e-3)


def photo(size: int) -> NDArray[np.uint8]:
    """A smooth picture of several colours."""
    rough = np.random.default_rng(size).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(rough, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize("side", [40, 96, 150, 300, 640])
def test_windows_of_several_pictures_are_cut_alike(side: int) -> None:
    size = 640
    pictures = [photo(size), photo(size)[::-1].copy()]
    windows = [Window(x / size, y / size, side / size) for x, y in ((130, -20), (400, 300))]
    normal = [((one - PIXEL_MEAN) / PIXEL_STD).astype(np.float32) for one in pictures]
    levels = twins.halved(torch.from_numpy(np.stack(normal)).permute(0, 3, 1, 2))
    rows = torch.tensor([[one.x, one.y, one.side] for one in windows]).repeat(2, 1)
    got = twins.crop(levels, rows).permute(0, 2, 3, 1).numpy()
    for at, seen in enumerate(got):
        whole = crop(pictures[at // 2], windows[at % 2])
        differences = np.abs(seen - (whole - PIXEL_MEAN) / PIXEL_STD)
        assert np.median(differences) < 0.01
        assert differences.mean() < 0.03


@settings(max_examples=15)
@given(tokens=prompts())
def test_a_close_up_is_seen_alike(tokens: list[Token]) -> None:
    plane, pixels = field(3), photo(CELLS)
    window = window_around(plane, tokens, 640)
    expected = closeup_planes(pixels, window, plane, tokens)
    normal = torch.from_numpy(expected[:3])[None]
    rows = torch.tensor([[window.x, window.y, window.side]])
    got = twins.closeup_planes(normal, rows, torch.from_numpy(plane)[None], *stacked([tokens]))[0]
    for at in range(PLANES):
        differences = np.abs(got[at].numpy() - expected[at])
        assert differences.mean() < 0.05, at
        if at in CLICK_PLANES:
            assert (differences > 1e-3).sum() <= 4


def test_colours_speak_alike() -> None:
    pixels = photo(CELLS)
    inside = 1 / (1 + np.exp(-field(5, CELLS)))
    expected = ColourCube(pixels.transpose(2, 0, 1).astype(np.float32)).evidence(
        inside.astype(np.float32)
    )
    normal = torch.from_numpy(((pixels - PIXEL_MEAN) / PIXEL_STD).astype(np.float32))
    got = twins.evidence(normal.permute(2, 0, 1)[None], [torch.from_numpy(inside)[None]])[0][0]
    differences = np.abs(got.numpy() - expected)
    # A colour on the edge of a cell of the cube may fall to either side.
    assert np.median(differences) < 1e-3
    assert differences.mean() < 0.02
