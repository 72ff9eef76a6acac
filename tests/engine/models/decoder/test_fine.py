"""Finer features: where they lie in an embedding, and what they do to upstream's decoder."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from server.engine.models.decoder.fine import (
    FineMaskDecoder,
    Widths,
    depth_to_space,
    space_to_depth,
)
from server.engine.models.upstream import MaskDecoder, Sam, TwoWayTransformer


def noise(*sizes: int) -> Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(0))


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
def test_cells_come_back_to_where_they_were_gathered(
    batch: int, channels: int, height: int, width: int
) -> None:
    cells = noise(batch, channels, 2 * height, 2 * width)
    places = space_to_depth(cells)
    assert places.shape == (batch, 4 * channels, height, width)
    assert torch.equal(depth_to_space(places), cells)


def test_a_place_lists_its_cells_by_row_and_column_and_each_cells_channels_together() -> None:
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    places = space_to_depth(torch.stack([rows, columns])[None])
    assert places[0, :, 1, 0].view(4, 2).tolist() == [[2, 0], [2, 1], [3, 0], [3, 1]]
    quarters = space_to_depth(places)[0, :, 0, 0].view(2, 2, 2, 2, 2)
    assert quarters[1, 0, 0, 1].tolist() == [2, 1]


def test_an_embedding_of_upstreams_has_its_own_channels_only(official_sam: Sam) -> None:
    widths = Widths(official_sam.mask_decoder)
    assert widths.parts == (256,)
    assert widths.total == 256


def test_an_embedding_of_ours_has_those_of_its_cells_behind_them(tiny_sam: Sam) -> None:
    assert Widths(tiny_sam.mask_decoder).parts == (192, 4 * 48, 16 * 24)


@pytest.fixture(scope="module")
def decoder() -> FineMaskDecoder:
    torch.manual_seed(0)
    transformer = TwoWayTransformer(depth=1, embedding_dim=32, num_heads=2, mlp_dim=16)
    made = FineMaskDecoder(transformer_dim=32, transformer=transformer)
    made.eval().requires_grad_(requires_grad=False)
    return made


def masks_of(decoder: MaskDecoder, embedding: Tensor) -> Tensor:
    places, sparse, dense = noise(1, 32, 3, 3), noise(2, 4, 32), noise(2, 32, 3, 3)
    masks: Tensor
    masks, _ = decoder.predict_masks(embedding, places, sparse, dense)
    return masks


def test_without_anything_fine_masks_are_upstreams(decoder: FineMaskDecoder) -> None:
    upstream = MaskDecoder(transformer_dim=32, transformer=copy.deepcopy(decoder.transformer))
    upstream.load_state_dict(decoder.state_dict())
    coarse = noise(1, 32, 3, 3)
    blank = torch.cat([coarse, coarse.new_zeros(1, 96, 3, 3)], dim=1)
    found, expected = masks_of(decoder, blank), masks_of(upstream.eval(), coarse)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_cells_features_change_the_mask_in_that_cell_and_nowhere_else(
    decoder: FineMaskDecoder,
) -> None:
    coarse = noise(1, 32, 3, 3)
    fine = coarse.new_zeros(1, 4, 12, 12)
    fine[0, :, 7, 2] = 9.0
    middle = coarse.new_zeros(1, 32, 3, 3)
    blank, marked = (
        torch.cat([coarse, middle, space_to_depth(space_to_depth(cells))], dim=1)
        for cells in (torch.zeros_like(fine), fine)
    )
    changed = (masks_of(decoder, blank) - masks_of(decoder, marked)).abs() > 1e-6
    assert changed[:, :, 7, 2].all()
    assert int(changed.any(0).any(0).sum()) == 1
