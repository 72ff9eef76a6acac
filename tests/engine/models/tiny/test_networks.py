import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from server.engine.models.decoder.fine import Widths
from server.engine.models.tiny.closeup import CloseUp
from server.engine.models.tiny.layers import fold_norms
from server.engine.models.tiny.networks import (
    EMBED_DIM,
    EMBED_STRIDE,
    Tiny,
    TinyEncoder,
    build_tiny,
    load_tiny,
)
from server.engine.models.tiny.quantization import quantized
from server.engine.models.upstream import Sam

SIZE = 64


@pytest.fixture(scope="module")
def sam() -> Sam:
    torch.manual_seed(0)
    model = build_tiny(SIZE)
    # Norms with something to fold: a fresh one is nearly the identity.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features)
            module.running_var = torch.rand(module.num_features) + 0.5
    return model.eval()


def drain(encoder: TinyEncoder, pixels: Tensor) -> tuple[list[float], Tensor]:
    fractions, steps = [], encoder.steps(pixels)
    while True:
        try:
            fractions.append(next(steps))
        except StopIteration as end:
            return fractions, end.value


def pixels() -> Tensor:
    return torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def test_steps_end_in_what_forward_returns(sam: Sam) -> None:
    with torch.inference_mode():
        _, stepped = drain(sam.image_encoder, pixels())
        assert torch.equal(stepped, sam.image_encoder(pixels()))


def test_steps_report_a_growing_fraction_below_one(sam: Sam) -> None:
    with torch.inference_mode():
        fractions, _ = drain(sam.image_encoder, pixels())
    assert fractions == sorted(set(fractions))
    assert fractions[0] > 0
    assert fractions[-1] < 1


def test_the_embedding_has_its_stride_and_the_channels_the_decoder_takes(sam: Sam) -> None:
    with torch.inference_mode():
        embedding = sam.image_encoder(pixels())
    grid = SIZE // EMBED_STRIDE
    assert embedding.shape == (1, Widths(sam.mask_decoder).total, grid, grid)


def test_folding_the_norms_changes_nothing(sam: Sam) -> None:
    folded = build_tiny(SIZE).eval()
    folded.load_state_dict(sam.state_dict())
    fold_norms(folded)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    with torch.inference_mode():
        expected, got = sam.image_encoder(pixels()), folded.image_encoder(pixels())
    assert torch.allclose(got, expected, atol=1e-4)


def test_a_click_goes_through_segment_anythings_own_forward(sam: Sam) -> None:
    record = {
        "image": torch.rand(3, 48, SIZE) * 255,
        "original_size": (96, 128),
        "point_coords": torch.tensor([[[20.0, 30.0]]]),
        "point_labels": torch.tensor([[1]]),
    }
    answer = sam([record], multimask_output=True)[0]
    assert answer["masks"].shape == (1, 3, 96, 128)
    assert answer["low_res_logits"].shape == (
        1,
        3,
        4 * SIZE // EMBED_STRIDE,
        4 * SIZE // EMBED_STRIDE,
    )


def test_a_saved_model_loads_as_float32_with_the_size_it_was_made_for(
    sam: Sam, tmp_path: Path
) -> None:
    state = Tiny(sam, CloseUp(EMBED_DIM).eval()).networks().state_dict()
    path = tmp_path / "tiny.safetensors"
    note = {"samwire": json.dumps({"input_size": SIZE})}
    save_file(quantized(copy.deepcopy(state)), path, metadata=note)
    loaded = load_tiny(path)
    assert loaded.sam.image_encoder.img_size == SIZE
    for network in (loaded.sam, loaded.closeup):
        assert {p.dtype for p in network.parameters()} == {torch.float32}
    with torch.inference_mode():
        expected, got = sam.image_encoder(pixels()), loaded.sam.image_encoder(pixels())
    assert (got - expected).abs().mean() < 0.02 * expected.abs().mean()
