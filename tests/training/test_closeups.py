import copy

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from server.engine.models.base import run_steps
from server.engine.models.tiny.layers import fold_norms
from server.engine.models.tiny.model import TinyModel
from server.engine.models.tiny.networks import Tiny
from server.engine.second_look.blending import SHARPEN
from server.engine.second_look.planes import PIXEL_MEAN, PIXEL_STD
from server.engine.tokens import BOTTOM_RIGHT, TOP_LEFT
from server.engine.types import DecodeRequest, Prompt
from training import closeups, prompting
from training.closeups import (
    CORRECTION_SIDE,
    VEILED_SHARE,
    _back,
    _FirstLook,
    _whole_ious,
    closeup_loss,
)
from training.learner import Learner
from training.prompting import Prompts
from training.twins import boxes_of, closeup_planes, crop, halved, windows_around
from training.veil import veiled

SIZE = 64
"""Of the first look's input."""
PICTURE = 160


@pytest.fixture
def learner() -> Learner:
    torch.manual_seed(0)
    made = Learner(SIZE)
    made.train_only_closeup()
    return made


def scene() -> tuple[Tensor, Tensor]:
    """Two pictures with two masks and one."""
    masks = torch.zeros((2, 3, PICTURE, PICTURE), dtype=torch.bool)
    masks[0, 0, 20:90, 30:140] = True
    masks[0, 2, 100:112, 20:30] = True
    masks[1, 1, 40:, :100] = True
    pixels = torch.randn((2, 3, PICTURE, PICTURE)) + 2 * masks.any(1, keepdim=True)
    return pixels, masks


def test_only_the_close_up_learns_and_all_of_it(learner: Learner) -> None:
    loss, stats = closeup_loss(learner, *scene(), rounds=2)
    loss.backward()
    moved = {n.split(".")[0] for n, p in learner.named_parameters() if p.grad is not None}
    assert moved == {"closeup"}
    assert all(p.grad is not None for p in learner.closeup.parameters())
    assert {"click1", "click2", "box0", "box1", "click1_first", "box0_first"} <= set(stats)


def test_some_steps_make_the_masks_better_than_the_first_look_s(learner: Learner) -> None:
    pixels, masks = scene()
    optimiser = torch.optim.AdamW(learner.closeup.parameters(), lr=3e-3)
    for _ in range(12):
        optimiser.zero_grad()
        loss, stats = closeup_loss(learner, pixels, masks, rounds=1)
        loss.backward()
        optimiser.step()
    assert stats["box0"] > stats["box0_first"]
    assert stats["click1"] > stats["click1_first"]


def test_a_close_up_s_mask_lies_on_the_input_where_its_window_lies() -> None:
    answers = torch.full((2, 64, 64), -1.0)
    answers[:, 16:48, 16:48] = 1.0
    windows = torch.tensor([[0.25, 0.5, 0.5], [-0.5, -0.5, 0.5]])
    points = torch.tensor([[[0.5, 0.5], [0.0, 0.0]]]).expand(2, -1, -1)
    nothing = boxes_of(points, torch.tensor([[1, -1], [1, -1]]))
    first, second = _back(answers, windows, nothing)
    ys, xs = first.nonzero().unbind(1)
    places = torch.stack([xs.min(), xs.max() + 1, ys.min(), ys.max() + 1]) / CORRECTION_SIDE
    torch.testing.assert_close(
        places, torch.tensor([0.375, 0.625, 0.625, 0.875]), atol=0.01, rtol=0
    )
    assert not second.any()  # all of its mask is beyond the input


def test_a_mask_is_judged_by_all_of_its_target_also_beyond_the_window() -> None:
    targets = torch.zeros(3, 160, 160, dtype=torch.bool)
    targets[:2, :, :80] = True
    windows = torch.tensor([[0.25, 0.25, 0.5], [0.0, 0.0, 1.0], [0.25, 0.25, 0.5]])
    inside = torch.zeros(3, 64, 64)
    inside[:2, :, :32] = 1.0
    answer = 2 * inside - 1
    ious = _whole_ious(answer, inside, windows, targets)
    torch.testing.assert_close(ious, torch.tensor([0.25, 1.0, 0.0]))


def test_a_veil_changes_some_pictures_and_only_in_training(learner: Learner) -> None:
    pixels, _ = scene()
    torch.manual_seed(0)
    many = pixels[:1].repeat(60, 1, 1, 1)
    changed = (veiled(many, VEILED_SHARE) != many).flatten(1).any(1)
    assert 0.4 < changed.float().mean() < 0.8
    learner.eval()
    torch.testing.assert_close(
        _FirstLook(learner, pixels)._embedding, _FirstLook(learner, pixels)._embedding
    )
    learner.train_only_closeup()
    embeddings = torch.cat([_FirstLook(learner, pixels)._embedding for _ in range(8)])
    assert len(embeddings.flatten(1).unique(dim=0)) > 2


def test_what_is_judged_and_not_learnt_from_moves_no_mask(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closeups, "ASTRAY_SHARE", 1.0)
    monkeypatch.setattr(prompting, "BOX_SHARE", 0.0)
    loss, _ = closeup_loss(learner, *scene(), rounds=1)
    loss.backward()
    assert (torch.as_tensor(learner.closeup.out.weight.grad) == 0).all()
    assert (torch.as_tensor(learner.closeup.judge[2].weight.grad) != 0).any()


def test_the_first_look_and_the_view_of_it_are_those_that_serve(learner: Learner) -> None:
    torch.manual_seed(3)
    torch.nn.init.normal_(torch.as_tensor(learner.closeup.out.weight), std=0.1)
    learner.eval().requires_grad_(requires_grad=False)
    rough = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    photo = np.asarray(cv2.resize(rough, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.uint8)
    box = (10.0, 14.0, 50.0, 40.0)
    points = torch.tensor([[box[:2], box[2:]]]) / SIZE
    prompts = Prompts(points, torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]]), torch.ones(1, 32, 32) > 0)
    normal = torch.from_numpy(((photo - PIXEL_MEAN) / PIXEL_STD).astype(np.float32)).permute(
        2, 0, 1
    )[None]

    first = _FirstLook(learner, normal)
    none = torch.tensor([False])
    plane, score = first.logits(prompts, None, none, single=none, astray=none)
    windows = windows_around(plane, points, prompts.labels, SIZE)
    seen = closeup_planes(crop(halved(normal), windows), windows, plane, points, prompts.labels)
    answer, judged = learner.closeup(seen, first.context(windows), score)

    networks = copy.deepcopy(Tiny(learner.sam, learner.closeup))
    fold_norms(networks.networks())
    cpu = torch.device("cpu")
    model = TinyModel(networks, fingerprint="f", device=cpu, dtype=torch.float32)
    request = DecodeRequest(Prompt((), box), "single")
    [served] = model.decode([(run_steps(model.encode(photo)), request)])
    np.testing.assert_allclose(served.logits[0], plane[0], atol=1e-3)
    np.testing.assert_allclose(served.scores, judged, atol=0.02)
    # Pixels between two cells are averaged a little differently, and colours on a cube's edge count
    # here or there; an untrained network makes much of it.
    looked = served.closeups[0].logits
    differences = looked - SHARPEN * answer[0].numpy()
    assert differences.std() < 0.1 * looked.std()
