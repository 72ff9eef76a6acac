import copy

import pytest
import torch

from server.engine.models.base import OutOfMemoryError
from server.engine.models.decoder.compiled import CompiledCore
from server.engine.models.decoder.prompts import LENGTHS
from server.engine.models.decoder.traced import TracedCore
from server.engine.models.sam import SamModel
from server.engine.models.upstream import Sam
from server.engine.models.warm_up import decode_ms, largest_batch


def served(sam: Sam, dtype: torch.dtype = torch.float32) -> SamModel:
    device = torch.device("cpu")
    return SamModel(copy.deepcopy(sam), name="any", fingerprint="f", device=device, dtype=dtype)


@pytest.mark.parametrize(
    ("fixed_ms", "each_ms", "max_decode_ms", "expected"),
    [
        (5.0, 0.1, 1e6, 64),
        (5.0, 0.1, 5.5, 4),
        (5.0, 0.1, 0.0, 1),
        (0.5, 5.0, 1e6, 1),
        (5.0, 2.0, 1e6, 4),
    ],
    ids=["the largest", "within the time", "no time", "nothing saved", "as long as it saves time"],
)
def test_the_largest_batch_is_the_one_that_is_worth_making(
    fixed_ms: float, each_ms: float, max_decode_ms: float, expected: int
) -> None:
    assert largest_batch(lambda batch: fixed_ms + each_ms * batch, max_decode_ms) == expected


def test_warming_up_records_the_decoder_in_the_way_that_suits_its_numbers(tiny_sam: Sam) -> None:
    exact, half = served(tiny_sam), served(tiny_sam, torch.bfloat16)
    for model in (exact, half):
        model.warm_up(max_decode_ms=0.0)
    assert isinstance(exact._decoder._core, CompiledCore)
    assert isinstance(half._decoder._core, TracedCore)
    assert len(half._decoder._core._recordings) == 2 * len(LENGTHS)  # one mask or three


def test_the_time_of_a_batch_is_measured_and_without_room_it_is_endless(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = served(tiny_sam)
    assert 0 < decode_ms(model, 2) < float("inf")

    def no_room(_batch: object) -> None:
        raise OutOfMemoryError

    monkeypatch.setattr(model, "decode", no_room)
    assert decode_ms(model, 2) == float("inf")
