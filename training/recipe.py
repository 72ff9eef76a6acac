r"""From raw shards to the file that ships in one command, by the stages that made it.

python -m training.recipe --data SHARDS --out RUN
python -m training.recipe --data SHARDS --out OTHER --seed 2 --share 0.1

Each step is a command of this package, printed and run in its own process. After a stop the same
command goes on: finished steps are skipped, a stage continues from its checkpoint. `STAGES` is the
recipe; its minutes are a GPU's.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from server.engine.models.device import choose_device

__all__ = ["STAGES", "Recipe", "Stage", "follow", "main"]

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """One run of `training.train`; its options are explained there."""

    name: str
    kind: str
    size: int
    minutes: float
    batch: int
    capacity: int
    rounds: int = 2
    rate: float = 1.2e-3
    cool: float = 0.7
    decay: float = 0.998
    flags: Command = ()
    midway: bool = False
    """Whether what goes on is the middle between where it began and where it ended."""


STAGES = (
    Stage("p0", "prompts", 192, 1, 96, 2000, rate=1e-3, cool=0.5, decay=0.99),
    Stage("p1", "prompts", 256, 2.4, 192, 3000, cool=0, decay=0.99),
    Stage("p2", "prompts", 384, 8.2, 160, 3000, rounds=3),
    Stage("c", "closeups", 384, 4, 64, 1500, flags=("--fresh-closeup",)),
    Stage("e", "closeups", 384, 2, 64, 1500, rate=3e-4, cool=0.6, decay=0.995, midway=True),
    Stage("f", "closeups", 384, 2, 64, 1500, rate=3e-4, cool=0.6, decay=0.995, midway=True),
    Stage("v", "views", 384, 2, 64, 2000, rate=1e-4, decay=0.995),
    Stage("q1", "prompts", 256, 4, 192, 3000, cool=0, decay=0.99),
    Stage("q2", "prompts", 384, 15.4, 160, 3000, rounds=3),
)
"""Each goes on from the one before it."""

ANNOTATES = "v"
"""The stage after which the model annotates the photos itself; later ones learn from that."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is to be done, and with what."""

    shards: Path
    out: Path
    """Folder of the cache, of every stage's run, and of the file at the end."""
    on_gpu: bool
    share: float = 1.0
    """Of the stages' minutes; of less than 1, of the photos to be annotated too."""
    seed: int = 1
    exclude_nc_nd: bool = False
    """Without photos whose licence bars commercial use or derivatives."""

    @property
    def cache(self) -> Path:
        """The folder that `prepare` writes; `annotate` changes it, so each recipe has its own."""
        return self.out / "cache"

    def commands(self) -> Iterator[Command]:
        """All steps, in order."""
        yield _module("prepare", "--data", self.shards, "--out", self.cache)
        yield self._train(0, ())
        for at, (before, _) in enumerate(pairwise(STAGES), start=1):
            began = ("--init", str(self._result(before)))
            if before.name == ANNOTATES:
                every = max(1, round(1 / self.share))
                yield _module("annotate", "--data", self.cache, *began, "--every", every)
            yield self._train(at, began)
            if STAGES[at].midway:
                yield self._export(STAGES[at], self._result(STAGES[at]), "--midway", began[1])
        yield self._export(STAGES[-1], self.out / "tiny.safetensors")

    def _train(self, at: int, began: Command) -> Command:
        """A stage; none sees the samples of another, nor those of another seed."""
        stage = STAGES[at]
        options = {
            "--data": self.cache,
            "--out": self.out / stage.name,
            "--size": stage.size,
            "--minutes": round(stage.minutes * self.share, 3),
            "--rounds": stage.rounds,
            "--rate": stage.rate,
            "--cool": stage.cool,
            "--decay": stage.decay,
            "--seed": 100 * self.seed + at,
            **self._load(stage),
        }
        pairs = [part for pair in options.items() for part in pair]
        flags = (*stage.flags, *(("--exclude-nc-nd",) if self.exclude_nc_nd else ()))
        return _module("train", stage.kind, *pairs, *flags, *began)

    def _load(self, stage: Stage) -> dict[str, int]:
        """How much at once: what a GPU takes, or two cores."""
        if self.on_gpu:
            return {"--batch": stage.batch, "--capacity": stage.capacity, "--workers": 14}
        few = 2 if stage.kind == "closeups" else 3
        return {"--batch": few if stage.size > 256 else 8, "--capacity": 400, "--refresh": 50}

    def _result(self, stage: Stage) -> Path:
        """What the next stage begins from."""
        return self.out / (f"{stage.name}.safetensors" if stage.midway else f"{stage.name}/last.pt")

    def _export(self, stage: Stage, to: Path, *options: str) -> Command:
        return _module("export", "--run", self.out / stage.name / "last.pt", *options, "--out", to)


def _module(name: str, *options: object) -> Command:
    return ("-m", f"training.{name}", *map(str, options))


def follow(recipe: Recipe, run: Callable[[Command], None]) -> None:
    """Run each command that has not been run to its end in this folder."""
    recipe.out.mkdir(parents=True, exist_ok=True)
    done_file = recipe.out / "finished.json"
    done: list[list[str]] = json.loads(done_file.read_text()) if done_file.exists() else []
    for command in recipe.commands():
        if list(command) in done:
            continue
        print(shlex.join(("python", *command)), flush=True)
        run(command)
        done.append(list(command))
        done_file.write_text(json.dumps(done, indent=1))


def _run(command: Command) -> None:
    subprocess.run((sys.executable, *command), check=True)  # noqa: S603 - of our own making


def main() -> None:
    """Read the command line and follow the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the packed shards")
    parser.add_argument("--out", type=Path, required=True, help="folder to write everything to")
    parser.add_argument("--share", type=float, default=1.0, help="of each stage's minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--exclude-nc-nd",
        action="store_true",
        help="leave out photos whose licence bars commercial use or derivatives",
    )
    args = parser.parse_args()
    on_gpu = choose_device("auto").type == "cuda"
    recipe = Recipe(args.data, args.out, on_gpu, args.share, args.seed, args.exclude_nc_nd)
    follow(recipe, _run)


if __name__ == "__main__":
    main()
