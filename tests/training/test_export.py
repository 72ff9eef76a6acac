import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from server.engine.models.tiny.networks import load_tiny
from training.export import main, midway
from training.learner import Learner, load_weights, save_checkpoint

SIZE = 64


def checkpoint(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    state = {"average": Learner(SIZE).state_dict(), "size": SIZE, "step": 7}
    save_checkpoint(path, state)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["export", *map(str, words)])
    main()


def test_what_is_exported_is_what_was_trained_and_can_be_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, out = checkpoint(tmp_path / "last.pt", 1), tmp_path / "new" / "tiny.safetensors"
    run(monkeypatch, "--run", trained, "--out", out)
    assert f"wrote {out}" in capsys.readouterr().out
    assert load_tiny(out).sam.image_encoder.img_size == SIZE
    with safe_open(out, framework="pt") as file:
        assert json.loads(file.metadata()["samwire"])["steps"] == 7
    before = load_weights(trained)
    exported = load_weights(out)
    assert set(exported) == {name for name in before if not name.startswith("grouping.")}
    for name, value in exported.items():
        torch.testing.assert_close(value, before[name].to(value), atol=2e-3, rtol=1e-2)


def test_midway_every_weight_is_the_mean_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = (checkpoint(tmp_path / f"{seed}.pt", seed) for seed in (1, 2))
    first, out = tmp_path / "first.safetensors", tmp_path / "tiny.safetensors"
    run(monkeypatch, "--run", start, "--out", first)
    run(monkeypatch, "--run", end, "--midway", first, "--out", out)
    name = "closeup.enter.0.weight"
    expected = (load_weights(start)[name] + load_weights(end)[name]) / 2
    torch.testing.assert_close(load_weights(out)[name], expected, atol=2e-3, rtol=1e-2)


def test_midway_keeps_counts_and_what_only_one_has() -> None:
    weights = {"a": torch.tensor([2.0]), "count": torch.tensor(5), "own": torch.tensor([3.0])}
    mean = midway(weights, {"a": torch.tensor([4.0]), "count": torch.tensor(9)})
    assert mean == {"a": torch.tensor([3.0]), "count": weights["count"], "own": weights["own"]}
