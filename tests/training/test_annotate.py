"""What the model itself sees in photos: where it is asked, what of its answers stays, and where."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from server.engine.second_look.planes import PIXEL_MEAN
from server.geometry import Frame
from training import annotate as module
from training.annotate import (
    GRID,
    MOST,
    MOST_BESIDE_MANY,
    Photo,
    annotate,
    ask,
    candidate_quality,
    distinct,
    finish,
    guess,
    load,
    normalised,
    places_of,
    without_specks,
)
from training.cache import Cache, CacheWriter, Picture, decode_rle
from training.learner import Learner

SIZE = 64
SIDE = SIZE // 4
CPU = torch.device("cpu")

WIDE = Frame(100, 50, SIZE)
"""Its lower half is padding."""


@pytest.fixture(scope="module")
def learner() -> Learner:
    torch.manual_seed(0)
    return Learner(SIZE).eval()


def disc(height: int, width: int, x: int, y: int, radius: int) -> NDArray[np.bool_]:
    ys, xs = np.mgrid[:height, :width]
    return np.asarray((ys - y) ** 2 + (xs - x) ** 2 < radius**2)


def photo(pixels: NDArray[np.uint8], frame: Frame = WIDE) -> Photo:
    return Photo(frame, pixels, np.zeros((0, SIDE, SIDE), np.bool_))


def plain(value: int) -> NDArray[np.uint8]:
    return np.full((SIZE, SIZE, 3), value, np.uint8)


def grids(*rows: slice) -> Tensor:
    """Of each slice a mask of these rows."""
    masks = torch.zeros((len(rows), SIDE, SIDE), dtype=torch.bool)
    for mask, some in zip(masks, rows, strict=True):
        mask[some] = True
    return masks


def cache_of(folder: Path, source: str, masks: list[NDArray[np.bool_]]) -> tuple[Cache, Picture]:
    """A wide dark photo whose right third is bright."""
    pixels = np.full((50, 100, 3), 20, np.uint8)
    pixels[:, 70:] = 250
    writer = CacheWriter(folder)
    writer.add(source, "", pixels, masks)
    writer.close()
    cache = Cache(folder)
    return cache, cache.by_source[source][0]


def test_clicks_are_asked_all_over_the_photo_and_never_in_its_padding() -> None:
    [wide], [tall] = (
        places_of([photo(plain(0), frame)], CPU).numpy() for frame in (WIDE, Frame(50, 100, SIZE))
    )
    assert len(np.unique(wide, axis=0)) == GRID**2
    assert wide.min() > 0
    assert wide.max(0) == pytest.approx([1 - 0.5 / GRID, 0.5 - 0.25 / GRID])
    assert tall.max(0) == pytest.approx([0.5 - 0.25 / GRID, 1 - 0.5 / GRID])


def test_a_photo_and_its_drawn_masks_lie_at_the_top_left_of_the_input(tmp_path: Path) -> None:
    right = np.zeros((50, 100), np.bool_)
    right[:, 70:] = True
    cache, picture = cache_of(tmp_path, "grocery", [right])
    loaded = load(cache, picture, SIZE)
    bright = loaded.pixels[..., 0] > 128
    assert bright[: SIZE // 2, 45:].all()
    assert bright.sum() == bright[: SIZE // 2, 44:].sum()
    assert loaded.drawn.shape == (1, SIDE, SIDE)
    assert np.array_equal(loaded.drawn[0], bright[2::4, 2::4])


def test_padding_is_what_the_mean_colour_is() -> None:
    mean = np.broadcast_to(np.round(PIXEL_MEAN).astype(np.uint8), (SIZE, SIZE, 3))
    grey, black = normalised([photo(np.array(mean)), photo(plain(0))], CPU)
    assert grey.abs().max() < 0.02
    assert (black[:, SIZE // 2 :] == 0).all()
    assert (black[:, : SIZE // 2] < -1).all()


@torch.inference_mode()
@pytest.mark.parametrize("at_once", [4, 1000])
def test_each_photos_answers_are_its_own_however_many_are_asked_at_once(
    learner: Learner, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(module, "FEW_PROMPTS", at_once)
    torch.manual_seed(1)
    pixels, places = torch.randn(2, 3, SIZE, SIZE), torch.rand(2, 5, 2)
    logits, scores = ask(learner.sam, pixels, places)
    assert logits.shape == (2, 15, SIDE, SIDE)
    assert scores.shape == (2, 15)
    for one in range(2):
        for click in (1, 4):
            alone = ask(
                learner.sam, pixels[one : one + 1], places[one : one + 1, click : click + 1]
            )
            own = slice(3 * click, 3 * click + 3)
            torch.testing.assert_close(logits[one, own], alone[0][0], atol=1e-4, rtol=1e-3)
            torch.testing.assert_close(scores[one, own], alone[1][0], atol=1e-4, rtol=1e-3)


def test_a_mask_is_worth_its_score_times_its_stability() -> None:
    inside = torch.ones((1, SIDE, SIDE), dtype=torch.bool)
    crisp = torch.where(grids(slice(8)), 5.0, -5.0)
    soft = crisp.clone()
    soft[:, 7] = 0.5  # an eighth of it is uncertain
    values = candidate_quality(
        torch.stack([crisp, soft], dim=1), torch.tensor([[0.8, 0.8]]), inside
    )
    assert values[0].tolist() == pytest.approx([0.8, 0.8 * 7 / 8])


@pytest.mark.parametrize(
    ("rows", "margin", "score", "why"),
    [
        (slice(8), 5.0, 0.3, "not sure of it"),
        (slice(8), 0.5, 0.9, "unstable"),
        (slice(0), 5.0, 0.9, "nothing"),
        (slice(15), 5.0, 0.9, "nearly the whole photo"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unfit_masks_are_worth_nothing(rows: slice, margin: float, score: float, why: str) -> None:
    logits = torch.where(grids(rows), margin, -margin)[None]
    inside = torch.ones((1, SIDE, SIDE), dtype=torch.bool)
    assert candidate_quality(logits, torch.tensor([[score]]), inside).tolist() == [[0.0]]


def test_a_masks_size_is_its_share_of_the_photo_without_padding() -> None:
    logits = torch.where(grids(slice(4)), 5.0, -5.0)[None]
    scores = torch.tensor([[0.9]])
    for reach, fit in ((8, True), (4, False)):
        assert bool(candidate_quality(logits, scores, grids(slice(reach))) > 0) is fit


def test_of_masks_that_say_the_same_the_best_stays() -> None:
    masks = grids(slice(0, 8), slice(0, 7), slice(0, 4), slice(8, 16), slice(9, 16))
    assert distinct(masks, grids(), most=9) == [0, 2, 3]
    assert distinct(masks, grids(), most=2) == [0, 2]


def test_a_mask_goes_only_for_what_stays_itself() -> None:
    masks = grids(slice(0, 10), slice(0, 7), slice(0, 5))  # each like the one before
    assert distinct(masks, grids(), most=9) == [0, 2]


def test_what_is_drawn_already_is_not_guessed_again() -> None:
    masks = grids(slice(0, 8), slice(8, 16))
    assert distinct(masks, grids(slice(0, 4)), most=9) == [1]
    assert distinct(masks, grids(slice(0, 3)), most=9) == [0, 1]


def test_a_guess_lies_in_the_photo_where_the_logits_say() -> None:
    logits = np.full((1, SIDE, SIDE), -8.0, np.float32)
    logits[0, : SIDE // 2, 4:8] = 8.0  # down to the photo's lower edge, beyond which is padding
    [counts] = finish(logits, WIDE)
    expected = np.zeros((50, 100), np.bool_)
    expected[:, 25:50] = True
    assert np.array_equal(decode_rle(counts, 50, 100), expected)


def test_specks_are_left_out_of_a_guess() -> None:
    large, part, speck = (disc(50, 100, x, 25, r) for x, r in ((20, 15), (60, 6), (90, 2)))
    assert np.array_equal(without_specks(large | part | speck), large | part)


def test_what_is_nothing_but_specks_is_no_guess() -> None:
    logits = np.full((2, SIDE, SIDE), -8.0, np.float32)
    logits[0, 1:14:2, 1:14:2] = 8.0  # 49 cells, each a fiftieth of the mask
    logits[1, 4:8] = 8.0
    [counts] = finish(logits, Frame(64, 64, SIZE))
    assert decode_rle(counts, 64, 64)[16:32].all()


@pytest.mark.parametrize(("drawn", "most"), [(3, MOST), (4, MOST_BESIDE_MANY)])
def test_where_much_is_drawn_fewer_guesses_are_made(
    learner: Learner, monkeypatch: pytest.MonkeyPatch, drawn: int, most: int
) -> None:
    found = torch.where(grids(*(slice(row, row + 1) for row in range(SIDE))), 5.0, -5.0)[None]

    def seen(*_: object) -> tuple[Tensor, Tensor]:
        return found, torch.full((1, SIDE), 0.9)

    monkeypatch.setattr(module, "ask", seen)
    nothing = np.zeros((drawn, SIDE, SIDE), np.bool_)
    [logits] = guess(learner.sam, [Photo(Frame(64, 64, SIZE), plain(0), nothing)], CPU)
    assert logits.shape == (most, SIDE, SIDE)


def test_of_what_the_model_says_only_fit_masks_stay_and_of_them_the_photos_part(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = torch.where(grids(slice(4, SIDE), slice(2)), 5.0, -5.0)[None]

    def seen(*_: object) -> tuple[Tensor, Tensor]:
        return found, torch.tensor([[0.9, 0.1]])

    monkeypatch.setattr(module, "ask", seen)
    [logits] = guess(learner.sam, [photo(plain(0))], CPU)
    assert np.array_equal(logits > 0, grids(slice(4, SIDE // 2)).numpy())


def bright_things(_: object, pixels: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """A model that takes whatever is bright for one thing."""
    seen = torch.nn.functional.avg_pool2d(pixels.mean(1, keepdim=True), 4)
    return 8 * torch.where(seen > 1, 1.0, -1.0), torch.full((len(pixels), 1), 0.9)


def test_what_the_model_sees_becomes_the_photos_guesses(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ask", bright_things)
    cache, before = cache_of(tmp_path, "grocery", [])
    for _ in range(2):  # the second time replaces what the first has found
        assert annotate(tmp_path, learner.sam, SIZE, CPU) == (1, 1)
    [picture] = Cache(tmp_path).by_source["grocery"]
    bright = cache.pixels(before)[..., 0] > 128
    [counts] = picture.guesses
    found = decode_rle(counts, 50, 100)
    assert (found & bright).sum() / (found | bright).sum() > 0.9
    assert picture.masks == ()


def test_what_a_person_drew_is_left_as_it_is(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ask", bright_things)
    drawn = np.zeros((50, 100), np.bool_)
    drawn[:, 68:] = True
    cache_of(tmp_path, "coco_union", [drawn])
    assert annotate(tmp_path, learner.sam, SIZE, CPU) == (1, 0)
    cache = Cache(tmp_path)
    [picture] = cache.by_source["coco_union"]
    assert picture.guesses == ()
    assert np.array_equal(cache.mask(picture, 0), drawn)


def test_a_cache_without_photos_to_look_at_is_refused_in_a_sentence(
    learner: Learner, tmp_path: Path
) -> None:
    cache_of(tmp_path, "dsb2018", [])
    with pytest.raises(ValueError, match="expected photos of at least one of coco_union, "):
        annotate(tmp_path, learner.sam, SIZE, CPU)
