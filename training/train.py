r"""Trains a stage for some minutes; interrupted, the same command goes on.

python -m training.train prompts --data CACHE --out RUN --size 384 --minutes 10
python -m training.train closeups --data CACHE --out RUN2 --size 384 --minutes 6 \
    --init RUN/last.pt --fresh-closeup
python -m training.train views --data CACHE --out RUN3 --size 384 --minutes 4 --rate 1e-4 \
    --rounds 2 --init RUN2/last.pt

Uses a GPU where there is one, else two processes of one core each. A run is given minutes, not
steps: the learning rate follows the share of them used.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from server.engine.models.device import choose_device
from server.engine.models.tiny.networks import EMBED_DIM
from server.engine.second_look.planes import PIXEL_MEAN, PIXEL_STD
from server.engine.second_look.window import PICTURE_SIDE
from training.closeups import closeup_loss
from training.grouping import draw_clicks, grouping_loss
from training.learner import (
    Average,
    Learner,
    autocast,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from training.muon import Muon
from training.pool import Pool, Workers
from training.prompting import draw_prompts, prompt_loss
from training.ranks import average_gradients, run_ranks
from training.sample import Scale
from training.veil import veiled
from training.views import views_loss

__all__ = ["main"]

CLICKS = 12
"""Clicks an image in the grouping loss."""
PROMPTS = 4
"""Prompts an image in the prompting loss."""
GROUPING_WEIGHT = 0.5
"""Of the grouping loss beside that of the prompts."""

VEILED_SHARE = 0.35
"""Of the pictures, those that the first look learns on veiled, so as to know fewer by heart; most
stay as they will be served."""

DECAY = 0.2
"""Of weights: a step takes off the rate times so much of them."""
LEAST_WIDTH = 16
"""A layer with at least so many inputs and outputs is Muon's."""

Loss = Callable[[Learner, Tensor, Tensor, int], tuple[Tensor, dict[str, Tensor]]]
"""Of normalised Bx3xSxS pixels and BxKxgxg masks, and so many rounds: a loss, and what to log."""


def first_look_loss(
    learner: Learner, pixels: Tensor, masks: Tensor, rounds: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The first look, the grouping loss beside it."""
    with autocast(pixels.device):
        embedding = learner.embed(veiled(pixels, VEILED_SHARE))
    clicks = draw_clicks(masks, CLICKS, embedding.shape[-1])
    grouping = grouping_loss(learner.grouping, embedding[:, :EMBED_DIM].float(), clicks)
    loss, stats = prompt_loss(learner.sam, embedding, draw_prompts(masks, PROMPTS), rounds)
    stats |= {"grouping": grouping.detach(), "prompts": loss.detach()}
    return loss + GROUPING_WEIGHT * grouping, stats


def agreement_loss(args: argparse.Namespace, device: torch.device) -> Loss:
    """The first look against what it was when the stage began, on four views.

    Raises:
        ValueError: there is nothing to begin from.
    """
    if args.init is None:
        raise ValueError("the stage `views` needs --init: what it learns is to agree with itself")
    teacher = Learner(args.size)
    teacher.start_from(load_weights(args.init))
    teacher.to(device).eval().requires_grad_(requires_grad=False)

    def loss(
        learner: Learner, pixels: Tensor, masks: Tensor, rounds: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return views_loss(learner, teacher.sam, pixels, masks, rounds)

    return loss


@dataclass(frozen=True, slots=True)
class Stage:
    """What is trained, and by what."""

    choose: Callable[[Learner], None]
    """Leaves what is trained free to change."""
    loss: Callable[[argparse.Namespace, torch.device], Loss]
    """Made once a run, of its command line and its device."""


STAGES = {
    "prompts": Stage(Learner.train_only_first_look, lambda _args, _device: first_look_loss),
    "closeups": Stage(Learner.train_only_closeup, lambda _args, _device: closeup_loss),
    "views": Stage(Learner.train_only_attention, agreement_loss),
}


def rate_at(progress: float, warm: float = 0.03, cool: float = 0.35) -> float:
    """Warm up, stay, and cool to zero over the last part; 0..1 to 0..1."""
    if progress < warm:
        return progress / warm
    return min(1.0, max(0.0, 1 - progress) / max(cool, 1e-6))


def choose_optimisers(learner: Learner, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for matrices and convolutions; AdamW for norms, biases, embeddings and narrow layers."""
    trained = [p for p in learner.parameters() if p.requires_grad]
    wide = [p.ndim > 1 and min(len(p), p[0].numel()) >= LEAST_WIDTH for p in trained]
    matrices = [p for p, is_wide in zip(trained, wide, strict=True) if is_wide]
    rest = [p for p, is_wide in zip(trained, wide, strict=True) if not is_wide]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)
    return [Muon(matrices, rate, weight_decay=DECAY), adam]


def normalise(pixels: Tensor) -> Tensor:
    """B x S x S x 3 bytes to Bx3xSxS floats, with a little more colour jitter."""
    gain = torch.empty((len(pixels), 1, 1, 3), device=pixels.device).uniform_(-0.15, 0.15).exp()
    mean, std = (torch.from_numpy(values).to(gain) for values in (PIXEL_MEAN, PIXEL_STD))
    return ((pixels * gain - mean) / std).permute(0, 3, 1, 2)


def mirror(pixels: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the samples, left and right changed."""
    turned = torch.rand((len(pixels), 1, 1, 1), device=pixels.device) < 0.5
    pixels = torch.where(turned, pixels.flip(2), pixels)
    return pixels, torch.where(turned, masks.flip(3), masks)


class Run:
    """One training run: everything that a checkpoint must hold, and the loop over it."""

    def __init__(self, args: argparse.Namespace, rank: int) -> None:
        self.args = args
        self.rank = rank
        self.out: Path = args.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = choose_device(args.device)
        self.learner = Learner(args.size).to(self.device)
        self.seconds = 0.0
        """Trained so far: the mean of the ranks' clocks, so that all stop at the same step."""
        self._mark = time.monotonic()
        self.step = 0
        last = self.out / "last.pt"
        state = load_checkpoint(last) if last.exists() else None
        if state is None and args.init:
            parts = ("sam.", "grouping.") if args.fresh_closeup else ("",)
            self.learner.start_from(load_weights(args.init), parts)
        self.average = Average(self.learner, args.decay)
        stage = STAGES[args.stage]
        stage.choose(self.learner)
        self._loss = stage.loss(args, self.device)
        self.optimisers = choose_optimisers(self.learner, args.rate)
        if state is not None:
            self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        if "optimisers" not in state:
            text = f"{self.out} was trained by another optimiser: start a new folder with --init"
            raise ValueError(text)
        self.learner.load_state_dict(state["learner"])
        self.average.model.load_state_dict(state["average"])
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.seconds, self.step = state["seconds"], state["step"]
        self.average.updates = state["updates"]

    def save(self) -> None:
        """Write `last.pt`."""
        if self.rank:
            return
        state = {
            "learner": self.learner.state_dict(),
            "average": self.average.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "seconds": self.seconds,
            "step": self.step,
            "updates": self.average.updates,
            "size": self.args.size,
        }
        save_checkpoint(self.out / "last.pt", state)

    def train(self, pool: Pool, rng: np.random.Generator) -> None:
        """Until the minutes are used up."""
        budget, args = self.args.minutes * 60, self.args
        seen: dict[str, list[Tensor]] = defaultdict(list)
        saved = logged = self.seconds
        drawn = 0.0
        self._mark = time.monotonic()
        while self.seconds < budget:
            rate = args.rate * rate_at(self.seconds / budget, cool=args.cool)
            for name, value in self.learn(pool, rate, rng).items():
                seen[name].append(value)
            drawn += args.batch
            drawn = self.renew(pool, drawn)
            if self.seconds - logged > 30:
                self.log({name: average_of(values) for name, values in seen.items()}, rate)
                seen.clear()
                logged = self.seconds
            if self.seconds - saved > 120:
                self.save()
                saved = self.seconds
        self.save()

    def renew(self, pool: Pool, drawn: float) -> float:
        """Replace samples that were seen often enough; what of `drawn` is still to be replaced."""
        if self.device.type == "cuda":
            due = Workers.CHUNK * self.args.reuse
            while drawn >= due and pool.keep_fresh():
                drawn -= due
            return drawn
        if drawn < self.args.refresh * self.args.reuse:
            return drawn
        pool.refresh(self.args.refresh)
        return 0.0

    def learn(self, pool: Pool, rate: float, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step of the optimiser."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
        pixels, masks = mirror(*pool.draw(self.args.batch))
        rounds = int(rng.integers(1, self.args.rounds + 1))
        loss, stats = self._loss(self.learner, normalise(pixels), masks, rounds)
        loss.backward()
        self.seconds = average_gradients(self.learner, self._clock())
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        if not self.rank:
            self.average.update(self.learner)
        self.step += 1
        return stats

    def _clock(self) -> float:
        """This rank's own idea of `seconds`."""
        now = time.monotonic()
        own, self._mark = self.seconds + now - self._mark, now
        return own

    def log(self, stats: dict[str, float], rate: float) -> None:
        """One line to the terminal and to `log.jsonl`."""
        if self.rank:
            return
        line = {"minute": round(self.seconds / 60, 2), "step": self.step, "rate": round(rate, 6)}
        line |= {name: round(value, 4) for name, value in stats.items()}
        text = json.dumps(line)
        print(text, flush=True)
        with (self.out / "log.jsonl").open("a") as file:
            file.write(text + "\n")


def average_of(values: list[Tensor]) -> float:
    """Of numbers that may still be on their way."""
    return float(torch.stack(values).mean())


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=sorted(STAGES))
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--init", type=Path, help="checkpoint or shipped file to start from")
    parser.add_argument(
        "--fresh-closeup", action="store_true", help="take all but the close-ups from --init"
    )
    parser.add_argument("--size", type=int, default=192, help="input pixels, a multiple of 16")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--ranks", type=int, help="processes: 2 on a processor, 1 on a GPU")
    parser.add_argument("--workers", type=int, default=1, help="processes that make samples")
    parser.add_argument("--batch", type=int, default=6, help="images a process and step")
    parser.add_argument("--rounds", type=int, default=4, help="most rounds of prompts; 1 to it")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--cool", type=float, default=0.35, help="share of the time that cools")
    parser.add_argument("--decay", type=float, default=0.999, help="of the weight average")
    parser.add_argument("--capacity", type=int, default=2000, help="samples a process keeps")
    parser.add_argument(
        "--refresh", type=int, default=200, help="samples replaced at a time, on a CPU"
    )
    parser.add_argument("--reuse", type=float, default=3.0, help="times a sample is seen")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--exclude-nc-nd",
        action="store_true",
        help="leave out photos whose licence bars commercial use or derivatives",
    )
    return parser.parse_args()


def work(args: argparse.Namespace, rank: int) -> None:
    """One process's part of a run."""
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    run = Run(args, rank)
    torch.manual_seed(args.seed + 1000 * run.step + rank)
    rng = np.random.default_rng([args.seed, run.step, rank])
    close = args.stage == "closeups"
    # No stage, size or continuation sees the samples of another.
    seed = (args.seed, rank, int(close), args.size, run.step)
    scale = Scale(PICTURE_SIDE, PICTURE_SIDE) if close else Scale(args.size, args.size // 2)
    workers = Workers(
        args.data,
        scale,
        args.workers,
        seed,
        exclude_nc_nd=args.exclude_nc_nd,
        drawn_only=close,  # guesses have the first look's outlines, which this is to better
    )
    try:
        run.train(Pool(workers, scale, args.capacity, run.device), rng)
    finally:
        workers.close()


def main() -> None:
    """Train one stage."""
    args = parse()
    on_gpu = choose_device(args.device).type == "cuda"
    if on_gpu and (args.ranks or 1) > 1:
        raise SystemExit("--ranks: a GPU is trained on by one process")
    run_ranks(partial(work, args), args.ranks or (1 if on_gpu else 2))


if __name__ == "__main__":
    main()
