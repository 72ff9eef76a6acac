import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from training.learner import Learner, save_checkpoint
from training.muon import Muon
from training.pool import Pool, Workers
from training.sample import Scale
from training.train import Run, choose_optimisers, mirror, normalise


def arguments(out: Path, **others: object) -> argparse.Namespace:
    plain = {"size": 64, "rate": 0.1, "decay": 0.9, "init": None, "device": "cpu"}
    return argparse.Namespace(out=out, **{**plain, "stage": "closeups", **others})


def one_step(run: Run, seed: int) -> None:
    """Of the optimisers, on made-up gradients."""
    torch.manual_seed(seed)
    for parameter in run.learner.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn_like(parameter)
    for optimiser in run.optimisers:
        optimiser.step()
    run.average.update(run.learner)


@pytest.mark.parametrize(
    "choose",
    [Learner.train_only_first_look, Learner.train_only_attention, Learner.train_only_closeup],
)
def test_every_weight_that_is_trained_has_one_optimiser(
    choose: Callable[[Learner], None],
) -> None:
    learner = Learner(64)
    choose(learner)
    found = [
        parameter
        for optimiser in choose_optimisers(learner, 1e-3)
        for group in optimiser.param_groups
        for parameter in group["params"]
    ]
    expected = [id(p) for p in learner.parameters() if p.requires_grad]
    assert sorted(map(id, found)) == sorted(expected)


def test_matrices_and_convolutions_are_muons_but_tokens_and_last_layers_are_not() -> None:
    learner = Learner(64)
    muon, _ = choose_optimisers(learner, 1e-3)
    assert isinstance(muon, Muon)
    named = {id(parameter): name for name, parameter in learner.named_parameters()}
    names = {named[id(p)] for group in muon.param_groups for p in group["params"]}
    assert "closeup.down16.0.weight" in names
    assert not names & {"sam.mask_decoder.mask_tokens.weight", "closeup.out.weight"}
    assert not any(name.endswith("bias") for name in names)


def test_the_same_command_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    whole, first = Run(arguments(tmp_path / "a"), 0), Run(arguments(tmp_path / "b"), 0)
    first.learner.load_state_dict(whole.learner.state_dict())
    first.average.model.load_state_dict(whole.average.model.state_dict())
    for seed in range(4):
        one_step(whole, seed)
    for seed in range(2):
        one_step(first, seed)
    first.step, first.seconds = 2, 7.0
    first.save()
    second = Run(arguments(tmp_path / "b"), 0)
    for seed in range(2, 4):
        one_step(second, seed)

    assert (second.step, second.seconds) == (2, 7.0)
    pairs = ((second.learner, whole.learner), (second.average.model, whole.average.model))
    for resumed, uninterrupted in pairs:
        for name, value in uninterrupted.state_dict().items():
            torch.testing.assert_close(resumed.state_dict()[name], value)


def test_agreeing_with_itself_needs_something_to_begin_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`views` needs --init"):
        Run(arguments(tmp_path, stage="views"), 0)


def test_a_folder_of_another_optimiser_says_what_to_do(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", {"optimiser": {}})
    with pytest.raises(ValueError, match="start a new folder with --init"):
        Run(arguments(tmp_path), 0)


@pytest.mark.parametrize(("stage", "side"), [("prompts", 64), ("closeups", 128), ("views", 64)])
def test_a_step_moves_what_its_stage_trains_and_nothing_else(
    folder: Path, tmp_path: Path, stage: str, side: int
) -> None:
    scale = Scale(side, side if stage == "closeups" else side // 2)
    workers = Workers(folder, scale, 1, seed=(1,), exclude_nc_nd=False)
    pool = Pool(workers, scale, Workers.CHUNK, torch.device("cpu"))
    workers.close()
    began = tmp_path / "began.pt"
    save_checkpoint(began, {"average": Learner(64).state_dict()})
    run = Run(
        arguments(tmp_path, stage=stage, batch=3, rounds=2, init=began, fresh_closeup=False), 0
    )
    before = {name: value.clone() for name, value in run.learner.named_parameters()}
    stats = run.learn(pool, 1e-3, np.random.default_rng(0))
    moved = {
        name.split(".")[0]
        for name, value in run.learner.named_parameters()
        if not torch.equal(before[name], value)
    }
    expected = {"prompts": {"sam", "grouping"}, "closeups": {"closeup"}, "views": {"sam"}}
    assert moved == expected[stage]
    assert all(bool(value.isfinite()) for value in stats.values())
    assert run.step == 1


def test_a_picture_is_mirrored_with_its_masks_or_neither_is() -> None:
    torch.manual_seed(0)
    lit = torch.zeros((40, 8, 8, 3), dtype=torch.uint8)
    lit[:, 2, :3] = 200
    masks = lit[:, None, :, :, 0] > 0
    pixels, turned = mirror(lit, masks)
    assert torch.equal(turned, pixels[:, None, :, :, 0] > 0)
    assert 5 < sum(not torch.equal(a, b) for a, b in zip(lit, pixels, strict=True)) < 35


def test_pixels_are_normalised_but_for_a_little_jitter() -> None:
    torch.manual_seed(0)
    grey = normalise(torch.full((200, 4, 4, 3), 124, dtype=torch.uint8))
    assert grey.shape == (200, 3, 4, 4)
    assert grey.abs().max() < 0.8
    assert grey[:, :, 0, 0].std(0).min() > 0.05


def test_samples_are_renewed_when_they_were_seen_often_enough(tmp_path: Path) -> None:
    class Counted:
        ready, refreshed = 2, 0

        def refresh(self, count: int) -> None:
            self.refreshed += count

        def keep_fresh(self) -> bool:
            self.ready -= 1
            return self.ready >= 0

    pool = Counted()
    run = Run(arguments(tmp_path, refresh=50, reuse=3), 0)
    assert run.renew(pool, 149.0) == 149.0  # type: ignore[arg-type]
    assert run.renew(pool, 150.0) == 0.0  # type: ignore[arg-type]
    assert pool.refreshed == 50
    run.device = torch.device("cuda")
    assert run.renew(pool, 74.0) == 74.0  # type: ignore[arg-type]
    assert run.renew(pool, 300.0) == 150.0  # type: ignore[arg-type]
