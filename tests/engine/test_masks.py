from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from server import rle
from server.engine import masks
from server.engine.models.base import CloseUpLogits, Decoded
from server.engine.second_look.window import Window
from server.engine.types import Logits, Mask
from server.errors import WireError
from server.geometry import Frame
from server.rle import BinaryMask, Rle

Plane = NDArray[np.float32]


def enlarged(plane: Plane, frame: Frame) -> Plane:
    """SamPredictor's two bilinear steps, the simple way: the whole of both pictures."""
    size = (frame.input_size, frame.input_size)
    square = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
    inside = square[: frame.model_height, : frame.model_width]
    whole = cv2.resize(inside, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole, np.float32)


def enlarged_by_torch(plane: Plane, frame: Frame) -> Plane:
    """What segment_anything itself calls."""

    def resize(planes: torch.Tensor, height: int, width: int) -> torch.Tensor:
        return functional.interpolate(planes, (height, width), mode="bilinear", align_corners=False)

    square = resize(torch.from_numpy(plane)[None, None], frame.input_size, frame.input_size)
    inside = square[..., : frame.model_height, : frame.model_width]
    return np.asarray(resize(inside, frame.height, frame.width)[0, 0].numpy(), np.float32)


def finished(plane: Plane, frame: Frame, score: float = 0.5) -> Mask:
    (mask,), _ = masks.finish(Decoded(plane[None], np.array([score], np.float32)), frame)
    return mask


def pixels_of(mask: Mask) -> BinaryMask:
    return rle.decode(Rle(size=mask.size, counts=mask.counts))


def disc(side: int = 64, x: float = 32, y: float = 24, radius: float = 10) -> Plane:
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    return np.asarray(radius - np.hypot(columns - x, rows - y), np.float32)


def iou(one: BinaryMask, other: BinaryMask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def assert_equal_but_at_zero(plane: Plane, frame: Frame, expected: Plane) -> None:
    """A pixel may differ only where it is so near zero that rounding decides."""
    found = pixels_of(finished(plane, frame))
    wrong = found != (expected > 0)
    assert not wrong.any() or np.abs(expected[wrong]).max() <= 1e-5 * np.abs(plane).max()


@st.composite
def planes(draw: st.DrawFn) -> tuple[Plane, Frame]:
    """Blobs of every size, from none to all, anywhere; pictures small and large, of any shape."""
    side = draw(st.sampled_from([8, 16, 64]))
    factor = draw(st.sampled_from([1, 2, 4]))
    frame = Frame(draw(st.integers(1, 300)), draw(st.integers(1, 300)), side * factor)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    noise = cv2.GaussianBlur(
        random.normal(size=(side, side)), (0, 0), draw(st.floats(0.1, side / 6))
    )
    level = draw(st.floats(-4, 4))
    return np.asarray(noise / noise.std() - level, np.float32), frame


@given(planes())
def test_masks_are_those_of_the_two_steps_done_in_whole(case: tuple[Plane, Frame]) -> None:
    plane, frame = case

    assert_equal_but_at_zero(plane, frame, enlarged(plane, frame))


@given(planes())
def test_masks_are_those_of_segment_anything(case: tuple[Plane, Frame]) -> None:
    plane, frame = case

    assert_equal_but_at_zero(plane, frame, enlarged_by_torch(plane, frame))


@given(planes())
def test_the_rle_is_pycocotools_byte_for_byte(case: tuple[Plane, Frame]) -> None:
    mask = finished(*case)
    again = rle.encode(pixels_of(mask))

    assert (mask.size, mask.counts) == (again["size"], again["counts"])
    assert (mask.area, mask.bbox) == (rle.area(again), rle.bbox(again))


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (1280, 960),  # as large photos are
        (960, 1280),
        (1024, 683),  # the model's own size
        (320, 240),  # smaller
        (512, 384),  # half
        (4000, 3000),
        (1, 1),
        (1, 20_000),
        (20_000, 1),
        (3, 2000),
        (1023, 1025),
    ],
)
def test_pictures_of_every_shape_get_segment_anythings_masks(width: int, height: int) -> None:
    frame = Frame(width, height, 1024)
    bottom, right = (value - 1 for value in frame.valid_logits(256))
    random = np.random.default_rng(0)
    speckle = cv2.GaussianBlur(random.normal(size=(256, 256)), (0, 0), 3) * 30
    plane = disc(256, right / 2, bottom / 2, 0.4 * max(right, bottom)) + speckle.astype(np.float32)

    assert_equal_but_at_zero(plane, frame, enlarged_by_torch(plane, frame))


EDGES = {
    "none": -np.ones((64, 64)),
    "all": np.ones((64, 64)),
    "one logit": np.where(disc() > 9.5, 1, -1),
    "top left": disc(x=0, y=0),
    "top right": disc(x=63, y=0),
    "bottom left": disc(x=0, y=47),
    "bottom right": disc(x=63, y=47),
    "every other row": np.where(np.arange(64)[:, None] % 2, 1, -1) * np.ones((64, 64)),
    "every other column": np.where(np.arange(64) % 2, 1, -1) * np.ones((64, 64)),
    "chequered": np.where(np.add.outer(np.arange(64), np.arange(64)) % 2, 1, -1),
    "all but one logit": np.where(disc() > 9.5, -1, 1),
    "left half": np.where(np.arange(64) < 32, 1, -1) * np.ones((64, 64)),
    "top half": np.where(np.arange(64)[:, None] < 24, 1, -1) * np.ones((64, 64)),
    "two columns at both ends": np.where(np.arange(64) % 63, -1, 1) * np.ones((64, 64)),
}


@pytest.mark.parametrize("size", [(256, 192), (200, 150), (64, 48), (300, 225), (1280, 960)])
@pytest.mark.parametrize("name", EDGES)
def test_masks_at_every_edge_are_right(name: str, size: tuple[int, int]) -> None:
    plane, frame = EDGES[name].astype(np.float32), Frame(*size, 256)

    assert_equal_but_at_zero(plane, frame, enlarged(plane, frame))


def test_a_pixel_at_zero_is_no_mask() -> None:
    plane = np.zeros((64, 64), np.float32)

    assert finished(plane, Frame(64, 64, 256)).area == 0


def test_zeros_around_a_mask_are_no_mask() -> None:
    plane = np.where(disc() > 9.5, 1, 0).astype(np.float32)
    frame = Frame(256, 192, 256)

    assert np.array_equal(pixels_of(finished(plane, frame)), enlarged(plane, frame) > 0)


def test_an_empty_mask_is_no_error() -> None:
    mask = finished(-np.ones((64, 64), np.float32), Frame(160, 120, 256))

    assert (mask.size, mask.area, mask.bbox) == ((120, 160), 0, (0.0, 0.0, 0.0, 0.0))
    assert not pixels_of(mask).any()


def test_what_lies_in_the_padding_is_no_mask() -> None:
    plane = disc(y=60, radius=3)  # the picture ends at 48

    assert finished(plane, Frame(160, 120, 256)).area == 0


def test_logits_that_do_not_divide_the_input_are_a_mistake_of_the_model() -> None:
    with pytest.raises(ValueError, match="logits of side 60"):
        finished(disc(60), Frame(160, 120, 256))


def test_bbox_and_area_are_the_masks() -> None:
    mask = finished(disc(), Frame(640, 480, 256))
    pixels = pixels_of(mask)
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))

    assert mask.area == pixels.sum()
    assert mask.bbox == (columns[0], rows[0], len(columns), len(rows))


@pytest.mark.parametrize(("given_", "told"), [(-0.2, 0.0), (0.25, 0.25), (1.3, 1.0)])
def test_the_score_is_clipped(given_: float, told: float) -> None:
    assert finished(disc(), Frame(160, 120, 256), given_).score == told


def test_each_candidate_has_its_mask_and_its_logits() -> None:
    parts = np.stack([disc(radius=radius) for radius in (5, 10, 15)])
    found, logits = masks.finish(
        Decoded(parts, np.array([0.9, 0.8, 0.7], np.float32)), Frame(160, 120, 256)
    )

    assert [mask.score for mask in found] == pytest.approx([0.9, 0.8, 0.7])
    assert found[0].area < found[1].area < found[2].area
    for plane, kept in zip(parts, logits, strict=True):
        assert kept.dtype == np.float16
        assert np.array_equal(kept, plane.astype(np.float16))


@pytest.mark.parametrize("nonsense", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_number_are_refused(nonsense: float) -> None:
    plane = disc()
    plane[3, 4] = nonsense

    with pytest.raises(WireError, match="internal"):
        finished(plane, Frame(160, 120, 256))


@pytest.mark.parametrize("nonsense", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused(nonsense: float) -> None:
    with pytest.raises(WireError, match="internal"):
        finished(disc(), Frame(160, 120, 256), nonsense)


def test_logits_beyond_half_precision_are_remembered_as_its_ends() -> None:
    plane = disc() * np.float32(1e6)
    _, (kept,) = masks.finish(
        Decoded(plane[None], np.array([0.5], np.float32)), Frame(160, 120, 256)
    )

    assert np.isfinite(kept).all()
    assert np.array_equal(kept > 0, plane > 0)


def logits_of(mask: BinaryMask, side: int = 64, input_size: int = 256) -> Logits:
    height, width = mask.shape
    return masks.logits_of(rle.encode(mask), Frame(width, height, input_size), side)


@pytest.mark.parametrize("size", [(160, 120), (120, 160), (1280, 960), (256, 192), (90, 700)])
@pytest.mark.parametrize("radius", [0.15, 0.3, 0.6])
def test_a_smooth_mask_survives_the_way_to_logits_and_back(
    size: tuple[int, int], radius: float
) -> None:
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot(columns - width * 0.4, rows - height * 0.55)
    mask: BinaryMask = away < radius * min(size)
    frame = Frame(width, height, 1024)

    logits = masks.logits_of(rle.encode(mask), frame, 256)

    assert logits.shape == (256, 256)
    assert logits.dtype == np.float16
    assert iou(pixels_of(finished(logits.astype(np.float32), frame)), mask) > 0.95


def test_inside_is_certain_outside_too_and_the_padding_is_outside() -> None:
    mask = np.zeros((120, 160), np.bool_)
    mask[:, 80:] = True
    logits = logits_of(mask)

    assert (logits[:47, 34:] == 10).all()
    assert (logits[:48, :30] == -10).all()
    assert (logits[49:] == -10).all()


@pytest.mark.parametrize(("value", "logit"), [(False, -10), (True, 10)])
def test_empty_and_full_masks_have_logits(value: bool, logit: int) -> None:
    assert (logits_of(np.full((192, 256), value))[:48] == logit).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 700)])
def test_masks_of_extreme_shapes_have_logits(shape: tuple[int, int]) -> None:
    assert logits_of(np.ones(shape, np.bool_)).max() > 0


@pytest.mark.parametrize("counts", [b"", b"garbage", b"\xff", b"P", b"0", b"PPPPPPPPP0"])
def test_malformed_counts_are_refused(counts: bytes) -> None:
    with pytest.raises(WireError) as refused:
        masks.logits_of(Rle(size=(120, 160), counts=counts), Frame(160, 120, 256), 64)

    assert (refused.value.code, refused.value.field) == ("bad_field", "prior.counts")


@pytest.mark.parametrize("size", [(160, 120), (0, 0), (-120, -160), (121, 160), (2**31, 2**31)])
def test_a_mask_of_another_size_is_refused_before_it_is_made(size: tuple[int, int]) -> None:
    with pytest.raises(WireError) as refused:
        masks.logits_of(Rle(size=size, counts=b"0"), Frame(160, 120, 256), 64)

    assert (refused.value.code, refused.value.field) == ("bad_field", "prior.size")


def test_a_big_mask_takes_no_picture_of_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finishing a mask of 40 million pixels works on a hundredth of them at a time."""
    largest: list[int] = []
    columns = masks._image_columns

    def watched(*args: Any) -> Any:
        lines = columns(*args)
        largest.append(lines.size)
        return lines

    monkeypatch.setattr(masks, "_image_columns", watched)
    mask = finished(disc(256, 128, 96, 80), Frame(8000, 5000, 1024))

    assert mask.area > 10_000_000
    assert max(largest) <= 400_000


def close(logits: np.ndarray, window: Window) -> Decoded:
    """A decoder's answer whose mask is a close-up's."""
    one = CloseUpLogits(window, [], logits)
    nothing = np.full((1, 64, 64), -5.0, np.float32)
    return Decoded(nothing, np.array([0.8], np.float32), (one,))


def drawn(mask: Mask) -> np.ndarray:
    return rle.decode(rle.Rle(size=mask.size, counts=mask.counts))


def hats(places: np.ndarray) -> np.ndarray:
    """Weights of 12 cells, and of one more on each side, at places counted in cells."""
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] + 0.5 - np.arange(14)))


@given(
    st.integers(5, 90),
    st.integers(5, 90),
    st.floats(-0.4, 0.9),
    st.floats(-0.4, 0.9),
    st.floats(0.05, 1.0),
    st.integers(0, 2**32 - 1),
)
def test_a_close_up_masks_what_its_logits_interpolate_to(
    height: int, width: int, x: float, y: float, side: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = cv2.GaussianBlur(rng.normal(size=(12, 12)), (0, 0), 1.0).astype(np.float32)
    frame = Frame(width, height, 64)
    decoded = close(logits, Window(x, y, side))
    (mask,), _ = masks.finish(decoded, frame)

    shares_down = (np.arange(height) + 0.5) / height * frame.model_height / 64
    shares_across = (np.arange(width) + 0.5) / width * frame.model_width / 64
    down, across = hats((shares_down - y) / side * 12), hats((shares_across - x) / side * 12)
    beyond = 1 - down.sum(axis=1)[:, None] * across.sum(axis=1)
    expected = down @ np.pad(logits, 1, constant_values=-10.0) @ across.T - 10 * beyond
    sure = np.abs(expected) > 1e-3
    np.testing.assert_array_equal(drawn(mask)[sure], (expected > 0)[sure])


def test_beyond_a_close_ups_window_is_no_mask() -> None:
    full = np.full((96, 96), 3.0, np.float32)
    (mask,), _ = masks.finish(close(full, Window(0.25, 0.5, 0.25)), Frame(400, 400, 64))
    assert mask.bbox == pytest.approx((100, 200, 100, 100), abs=2)
    assert mask.area == pytest.approx(10_000, rel=0.02)


def test_a_window_beyond_the_image_gives_an_empty_mask() -> None:
    full = np.full((96, 96), 3.0, np.float32)
    (mask,), _ = masks.finish(close(full, Window(0.8, 0.1, 0.1)), Frame(100, 400, 64))
    assert mask.area == 0


def test_what_is_remembered_is_the_decoders_own() -> None:
    full = np.full((96, 96), 3.0, np.float32)
    _, (kept,) = masks.finish(close(full, Window(0.0, 0.0, 1.0)), Frame(64, 64, 64))
    np.testing.assert_array_equal(kept, np.full((64, 64), -5.0, np.float16))
