from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from pycocotools import mask as coco

from server import rle
from server.rle import BinaryMask, Rle

masks = arrays.arrays(
    np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
)


@st.composite
def runs(draw: st.DrawFn) -> tuple[tuple[int, int], list[int]]:
    """A size, and any runs that fill it, empty ones among them."""
    height, width = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    cuts = sorted(draw(st.lists(st.integers(0, height * width), max_size=40)))
    edges = [0, *cuts, height * width]
    return (height, width), [b - a for a, b in pairwise(edges)]


def written(values: list[int]) -> bytes:
    """COCO's characters for these runs, written here once more."""
    out = bytearray()
    for index, run in enumerate(values):
        rest = run - values[index - 2] if index > 2 else run
        more = True
        while more:
            digit, rest = rest & 0x1F, rest >> 5
            more = rest != (-1 if digit & 0x10 else 0)
            out.append(48 + digit + 0x20 * more)
    return bytes(out)


def blob(height: int = 120, width: int = 160) -> BinaryMask:
    """A disc with a hole, and an island in the hole."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(x - width / 2, y - height / 2)
    mask: BinaryMask = (distance < 50) & ~((distance > 15) & (distance < 30))
    return mask


@given(masks)
def test_encoding_is_pycocotools_byte_for_byte(mask: BinaryMask) -> None:
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))

    packed = rle.encode(mask)

    assert packed["counts"] == expected["counts"]
    assert list(packed["size"]) == expected["size"]


@given(masks)
def test_a_mask_survives_the_round_trip(mask: BinaryMask) -> None:
    decoded = rle.decode(rle.encode(mask))

    assert decoded.dtype == np.bool_
    assert np.array_equal(decoded, mask)


@given(masks)
def test_area_and_box_are_the_masks(mask: BinaryMask) -> None:
    packed = rle.encode(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))

    assert rle.area(packed) == mask.sum()
    expected = (0, 0, 0, 0)
    if mask.any():
        x, y = int(columns[0]), int(rows[0])
        expected = (x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1)
    assert rle.bbox(packed) == expected


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_mask_may_lie_in_memory_in_either_order(order: Any) -> None:
    mask = np.array(blob(), order=order)

    assert rle.encode(mask) == rle.encode(blob())


def test_a_mask_may_be_a_slice_of_another() -> None:
    mask = blob()[10:90:2, 5:150:3]

    assert np.array_equal(rle.decode(rle.encode(mask)), mask)


def test_a_big_mask_needs_numbers_of_many_characters() -> None:
    mask = np.zeros((3000, 4000), np.bool_)
    mask[100:2900, 50:3950] = True

    assert np.array_equal(rle.decode(rle.encode(mask)), mask)


def test_a_mask_without_a_pixel_has_no_box() -> None:
    packed = rle.encode(np.zeros((7, 5), np.bool_))

    assert (rle.area(packed), rle.bbox(packed)) == (0, (0.0, 0.0, 0.0, 0.0))


@given(masks)
def test_whatever_pycocotools_writes_is_accepted(mask: BinaryMask) -> None:
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))

    rle.check_counts(Rle(size=expected["size"], counts=expected["counts"]))


@given(runs())
def test_runs_that_fill_the_size_are_read_as_pycocotools_reads_them(
    case: tuple[tuple[int, int], list[int]],
) -> None:
    size, values = case
    packed = Rle(size=size, counts=written(values))

    mask = rle.decode(packed)

    flat = np.repeat(np.arange(len(values)) % 2 == 1, values)
    assert np.array_equal(mask, flat.reshape(size, order="F"))


@given(runs(), st.integers(-3, 3).filter(bool))
def test_runs_that_do_not_fill_the_size_are_refused(
    case: tuple[tuple[int, int], list[int]], off: int
) -> None:
    size, values = case
    packed = Rle(size=size, counts=written([*values[:-1], values[-1] + off]))

    with pytest.raises(ValueError, match="run"):
        rle.check_counts(packed)


@given(st.binary(max_size=60), st.integers(0, 40), st.integers(0, 40))
def test_bytes_of_any_kind_are_refused_or_safe(counts: bytes, height: int, width: int) -> None:
    try:
        mask = rle.decode(Rle(size=(height, width), counts=counts))
    except ValueError:
        return

    assert mask.shape == (height, width)


@given(st.lists(st.integers(-(2**34), 2**34 - 1), max_size=30), st.integers(1, 99))
def test_numbers_of_any_size_are_refused_or_safe(values: list[int], width: int) -> None:
    packed = Rle(size=(50, width), counts=written(values))

    fills = all(value >= 0 for value in values) and sum(values) == 50 * width

    if fills:
        rle.check_counts(packed)
    else:
        with pytest.raises(ValueError, match=r"run|number too long"):
            rle.check_counts(packed)


@given(masks, st.data())
def test_a_changed_byte_is_refused_or_safe(mask: BinaryMask, data: st.DataObject) -> None:
    packed = rle.encode(mask)
    counts = bytearray(packed["counts"])
    counts[data.draw(st.integers(0, len(counts) - 1))] = data.draw(st.integers(0, 255))

    try:
        decoded = rle.decode(Rle(size=packed["size"], counts=bytes(counts)))
    except ValueError:
        return

    assert decoded.shape == mask.shape


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (b"", "cover"),
        (b";", "cover"),
        (b"=", "cover"),
        (b"<0<", "cover"),
        (b">N", "negative"),
        (b"\x00", "alphabet"),
        (b"/", "alphabet"),
        (b"p", "alphabet"),
        (b"\xff", "alphabet"),
        (b"P", "unfinished"),
        (b"PPPPPPP0", "too long"),
        (b"P" * 4000 + b"0", "too long"),
    ],
)
def test_counts_are_refused_with_a_reason(counts: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        rle.check_counts(Rle(size=(3, 4), counts=counts))


def test_runs_whose_sum_overflows_are_refused() -> None:
    # 12 modulo 2^64, where no run is negative and no single difference too long.
    count, extra = 46_340, 41_708
    grows = [2**33 * k + 2**32 * (k > count - extra) for k in range(1, count + 1)]
    values = [0, *(run for run in grows for _ in range(2))]
    values[-1] += 12
    assert sum(values) == 2**64 + 12

    with pytest.raises(ValueError, match="cover"):
        rle.check_counts(Rle(size=(3, 4), counts=written(values)))


def test_a_size_beyond_32_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bits"):
        rle.check_counts(Rle(size=(2**16, 2**16), counts=written([2**32])))


@given(masks)
def test_polygons_have_a_ring_for_each_part_and_each_hole(mask: BinaryMask) -> None:
    parts, _ = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    padded = np.pad(~mask, 1, constant_values=True)
    gaps, _ = cv2.connectedComponents(padded.view(np.uint8), connectivity=4)

    outlines = rle.polygons(mask)

    assert len(outlines) == parts - 1
    assert sum(len(rings) - 1 for rings in outlines) == gaps - 2


@given(masks)
def test_polygons_filled_without_their_holes_are_the_mask(mask: BinaryMask) -> None:
    assert np.array_equal(filled(rle.polygons(mask), mask.shape), mask)


def test_an_island_in_a_hole_is_a_part_of_its_own() -> None:
    outlines = rle.polygons(blob())

    assert sorted(len(rings) for rings in outlines) == [1, 2]
    assert np.array_equal(filled(outlines, blob().shape), blob())


def test_a_mask_without_a_pixel_has_no_polygons() -> None:
    assert rle.polygons(np.zeros((4, 4), np.bool_)) == []


def filled(outlines: list[list[NDArray[np.int32]]], shape: tuple[int, ...]) -> BinaryMask:
    """Draw the parts; a hole's ring runs along the mask's own pixels."""
    whole = np.zeros(shape, np.uint8)
    for outer, *holes in outlines:
        part = np.zeros(shape, np.uint8)
        cv2.fillPoly(part, [outer], 1)
        for hole in holes:
            gap = np.zeros(shape, np.uint8)
            cv2.fillPoly(gap, [hole], 1)
            cv2.polylines(gap, [hole], isClosed=True, color=0)
            part[gap == 1] = 0
        whole |= part
    return whole.view(np.bool_)


@given(masks)
def test_a_mask_known_by_its_changes_is_pycocotools_byte_for_byte(mask: BinaryMask) -> None:
    flat = np.concatenate(([False], mask.ravel(order="F")))
    changes = np.flatnonzero(flat[1:] != flat[:-1])

    assert rle.from_changes((mask.shape[0], mask.shape[1]), changes) == rle.encode(mask)


@given(runs())
def test_changes_that_come_twice_cancel(case: tuple[tuple[int, int], list[int]]) -> None:
    size, values = case
    changes = np.cumsum(values)  # an empty run is a change that comes twice

    packed = rle.from_changes(size, changes)

    flat = np.repeat(np.arange(len(values)) % 2 == 1, values)
    assert packed == rle.encode(flat.reshape(size, order="F"))


@pytest.mark.parametrize("run", [1, 15, 16, 31, 32, 511, 512, 2**14, 2**19, 2**24, 2**29, 2**31])
def test_runs_of_every_length_are_written_as_coco_does(run: int) -> None:
    # Up and down again, so that differences of either sign are written.
    values = [run, 1, 1, run, run, 2, 1, run + 1]
    pixels = sum(values)

    packed = rle.from_changes((1, pixels), np.cumsum(values[:-1]))

    assert packed["counts"] == written(values)


def lines(length: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(0, length), min_size=2, max_size=12).map(sorted)


@given(masks, st.data())
def test_what_cells_of_a_grid_cover_is_what_their_pixels_do(
    mask: BinaryMask, data: st.DataObject
) -> None:
    columns = np.array(data.draw(lines(mask.shape[1])))
    rows = np.array(data.draw(lines(mask.shape[0])))

    def shares(edges: NDArray[np.float64], length: int) -> NDArray[np.float64]:
        """How much of each pixel lies in each cell, along one axis."""
        before = np.clip(edges[:, None] - np.arange(length), 0, 1)
        return np.diff(before, axis=0)

    expected = shares(rows, mask.shape[0]) @ mask @ shares(columns, mask.shape[1]).T
    found = rle.coverage(rle.encode(mask), columns, rows)
    assert np.allclose(found, expected, atol=1e-9)


@given(runs())
def test_empty_runs_cover_nothing(given_: tuple[tuple[int, int], list[int]]) -> None:
    (height, width), values = given_
    whole = np.array([0.0, width]), np.array([0.0, height])
    covered = rle.coverage(Rle(size=(height, width), counts=written(values)), *whole)
    assert covered.shape == (1, 1)
    assert covered[0, 0] == pytest.approx(sum(values[1::2]), abs=1e-3)


def test_more_changes_than_one_block_are_all_counted() -> None:
    mask = np.indices((400, 400)).sum(axis=0) % 2 == 1
    edges = np.linspace(0, 400, 9)
    assert np.allclose(rle.coverage(rle.encode(mask), edges, edges), 50 * 50 / 2)


def test_counts_that_are_none_have_no_coverage() -> None:
    with pytest.raises(ValueError, match="do not cover"):
        rle.coverage(Rle(size=(4, 4), counts=b"1"), np.array([0.0, 4.0]), np.array([0.0, 4.0]))
