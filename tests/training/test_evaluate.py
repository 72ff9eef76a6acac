"""The tool that measures: of models whose answers are known, and from the command to its report."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from server.engine.fake import FakeModel
from server.engine.models.base import Decoded, Embedding
from server.engine.types import DecodeRequest
from training.drawn import drawn_scenes
from training.evaluate import GRABCUT_CLICKS, main, measure
from training.learner import Learner, save_checkpoint
from training.prepare import Record
from training.robot import Photo
from training.sheets import SIDE

SCORE = 0.75
HALVES = ["left", "right"]
KEYS = {"click1", "click2", "click3", "best_of_three", "score1", "box", "box_score", "area"}
RIVALS = {"filled_box", "grabcut_box"}


class Known(FakeModel):
    """Answers with the half of the picture that it is asked for, or with what it is told."""

    def __init__(self, sign: int | None = None) -> None:
        super().__init__()
        self._sign = sign

    def decode(self, batch: Sequence[tuple[Embedding, DecodeRequest]]) -> list[Decoded]:
        return [self._answer(request) for _, request in batch]

    def _answer(self, request: DecodeRequest) -> Decoded:
        prompt = request.prompt
        x = prompt.box[0] if prompt.box is not None else prompt.points[0][0]
        logits = np.full((self.logits_size, self.logits_size), -10.0, np.float32)
        middle = self.logits_size // 2
        logits[:, :middle] = 10.0
        if x >= 32:
            logits = -logits
        if self._sign is not None:
            logits = self._sign * np.abs(logits)
        candidates = 3 if request.want == "all" else 1
        scores = np.full(candidates, SCORE, np.float32)
        return Decoded(np.stack([logits] * candidates), scores)


def record() -> Record:
    """A picture of a dark and a bright half, each of which is an object."""
    left = np.zeros((64, 64), np.bool_)
    left[:, :32] = True
    pixels = np.random.default_rng(0).integers(0, 60, (64, 64, 3), np.uint8)
    pixels[~left] += 180
    return Record("halves", pixels, [left, ~left], "")


def arguments(**others: object) -> argparse.Namespace:
    return argparse.Namespace(**{"clicks": 3, "rivals": "none", "sheets": None, **others})


def measured(model: FakeModel, **others: object) -> dict[str, list[float]]:
    rows, _ = measure(Photo(model, record().pixels), record(), arguments(**others))
    return {name: list(column) for name, column in rows.items()}


@pytest.mark.parametrize(
    ("rivals", "more"),
    [
        ("none", set()),
        ("boxes", RIVALS),
        ("all", RIVALS | {f"grabcut_click{k + 1}" for k in range(GRABCUT_CLICKS)}),
    ],
)
def test_each_mask_has_a_row_of_every_figure(rivals: str, more: set[str]) -> None:
    rows = measured(Known(), rivals=rivals)
    assert set(rows) == KEYS | more
    assert {len(column) for column in rows.values()} == {2}


def test_who_knows_the_masks_gets_them_all_right() -> None:
    rows = measured(Known(), rivals="boxes")
    for name in ("click1", "click2", "click3", "best_of_three", "box"):
        assert rows[name] == [1.0, 1.0]
    assert rows["score1"] == rows["box_score"] == [SCORE, SCORE]
    assert rows["area"] == [0.5, 0.5]
    assert rows["filled_box"] == [1.0, 1.0]  # a half is its own box


@pytest.mark.parametrize(("sign", "iou"), [(-1, 0.0), (1, 0.5)], ids=["nothing", "everything"])
def test_who_always_answers_the_same_gets_what_that_is_worth(sign: int, iou: float) -> None:
    rows = measured(Known(sign))
    for name in ("click1", "click3", "best_of_three", "box"):
        assert rows[name] == [iou, iou]


def test_there_is_a_picture_of_each_mask_if_they_are_to_be_seen() -> None:
    photo = Photo(Known(), record().pixels)
    _, none = measure(photo, record(), arguments())
    _, tiles = measure(photo, record(), arguments(sheets=Path("sheets")))
    assert none == []
    assert [tile.shape for tile in tiles] == [(SIDE, SIDE, 3)] * 2


def test_the_command_measures_every_mask_once_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    weights, out = tmp_path / "last.pt", tmp_path / "figures.json"
    save_checkpoint(weights, {"average": Learner(64).state_dict(), "size": 64, "step": 1})
    words = f"evaluate --drawn 3 --photos 2 --clicks 1 --rivals none --weights {weights}"
    more = f" --against {weights} --out {out} --sheets {tmp_path / 'sheets'}"
    monkeypatch.setattr(sys, "argv", (words + more).split())
    main()
    masks = sum(len(scene.masks) for scene in drawn_scenes(2))
    summary = json.loads(out.read_text())
    assert (summary["masks"], summary["photos"], summary["cap"]) == (masks, 2, 1)
    assert summary["weights"] == summary["against"]["weights"] == "last.pt"
    assert {"click1", "best_of_three", "box", "noc85"} <= set(summary["figures"])
    assert summary["figures"] == summary["against"]["figures"]
    assert (tmp_path / "sheets" / "worst.png").exists()
    told = capsys.readouterr().out
    assert f"{masks} masks of 2 photos" in told
    assert "difference" in told
