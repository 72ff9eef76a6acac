import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from training.learner import Learner, save_checkpoint
from training.muon import Muon
from training.train import Run, choose_optimisers


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


@pytest.mark.parametrize("choose", [Learner.train_only_first_look, Learner.train_only_closeup])
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
    for name, value in whole.learner.state_dict().items():
        torch.testing.assert_close(second.learner.state_dict()[name], value)


def test_a_folder_of_another_optimiser_says_what_to_do(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", {"optimiser": {}})
    with pytest.raises(ValueError, match="start a new folder with --init"):
        Run(arguments(tmp_path), 0)
