"""Batches of any size through buffers of fixed addresses; where there is a GPU, real graphs."""

import copy
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor

from server.engine.models.decoder.batched import FoldedDecoder
from server.engine.models.decoder.contract import Answer
from server.engine.models.decoder.fine import Widths
from server.engine.models.decoder.graphed import GraphedCore
from server.engine.models.decoder.simple import SimpleDecoder
from server.engine.models.upstream import Sam
from server.engine.types import DecodeRequest, Prompt
from server.geometry import Frame

T = TypeVar("T")


class Recorder:
    """A capture without a GPU: a recording is the function itself, over the same buffers."""

    def __init__(self) -> None:
        self.recordings = 0

    def __call__(self, run: Callable[[], T]) -> Callable[[], T]:
        self.recordings += 1
        return run


def core(xy: Tensor, kinds: Tensor, single: Tensor, masks: int, *embedding: Tensor) -> Answer:
    """Something that depends on every input, row by row."""
    keys, finer = embedding
    told = xy.sum((1, 2)) + kinds.sum(1) + single.float()
    scores = (keys.sum((1, 2)) + 2 * finer.sum((1, 2)) + told).unsqueeze(1).expand(-1, masks)
    return scores[..., None, None].expand(-1, -1, 4, 4), scores


Inputs = tuple[Tensor, Tensor, Tensor, int, Tensor, Tensor]


def inputs(rows: int, tokens: int, masks: int = 1, *, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(rows, tokens, 2, generator=generator),
        torch.randint(6, (rows, tokens), generator=generator),
        torch.rand(rows, generator=generator) < 0.5,
        masks,
        torch.randn(rows, 6, 5, generator=generator),
        torch.randn(rows, 6, 3, generator=generator),
    )


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("masks", [1, 3])
def test_a_batch_of_any_size_is_answered_as_the_core_answers_it(rows: int, masks: int) -> None:
    graphed = GraphedCore(core, Recorder())
    for seed in range(3):
        batch = inputs(rows, 7, masks, seed=seed)
        for found, expected in zip(graphed(*batch), core(*batch), strict=True):
            torch.testing.assert_close(found, expected)


def test_a_shape_is_recorded_once_and_batches_up_to_a_power_of_two_share_it() -> None:
    recorder = Recorder()
    graphed = GraphedCore(core, recorder)
    for rows in (3, 4, 3, 4):
        graphed(*inputs(rows, 7))
    assert recorder.recordings == 1
    graphed(*inputs(5, 7))
    graphed(*inputs(4, 8))
    graphed(*inputs(4, 7, 3))
    assert recorder.recordings == 4


def test_what_a_larger_batch_left_behind_changes_nothing() -> None:
    graphed = GraphedCore(core, Recorder())
    graphed(*inputs(4, 7, seed=1))
    batch = inputs(3, 7, seed=2)
    torch.testing.assert_close(graphed(*batch)[1], core(*batch)[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("rows", [1, 3])
def test_graphs_on_a_gpu_decode_as_upstream_decodes(tiny_sam: Sam, rows: int) -> None:
    device = torch.device("cuda")
    simple = SimpleDecoder(copy.deepcopy(tiny_sam).to(device))
    graphed = FoldedDecoder(copy.deepcopy(tiny_sam), device=device, dtype=torch.float32)
    frame = Frame(640, 480, tiny_sam.image_encoder.img_size)
    sizes = (1, Widths(tiny_sam.mask_decoder).total, *tiny_sam.prompt_encoder.image_embedding_size)
    for seed in range(3):
        features = torch.randn(sizes, generator=torch.Generator().manual_seed(seed))
        request = DecodeRequest(Prompt(points=((9.0, 9.0, 1),)), "best")
        [expected] = simple.decode([(simple.store(features.to(device)), frame, request)])
        for decoded in graphed.decode([(graphed.store(features), frame, request)] * rows):
            np.testing.assert_allclose(decoded.logits, expected.logits, atol=1e-3)
