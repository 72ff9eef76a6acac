"""The stages in one piece: what they begin from, what they are given, what is not done twice."""

from pathlib import Path

import pytest

from training import train
from training.recipe import ANNOTATES, STAGES, Command, Recipe, follow

SHARDS = Path("shards")


def commands(out: Path = Path("run"), **others: float) -> list[Command]:
    seed, share = int(others.get("seed", 1)), others.get("share", 1.0)
    return list(Recipe(SHARDS, out, on_gpu=True, share=share, seed=seed).commands())


def module(command: Command) -> str:
    return command[1].removeprefix("training.")


def option(command: Command, name: str) -> str:
    return command[command.index(name) + 1]


def of(name: str, given: list[Command]) -> list[Command]:
    return [command for command in given if module(command) == name]


def written_by(command: Command) -> str:
    out = option(command, "--out")
    return f"{out}/last.pt" if module(command) == "train" else out


def test_everything_is_begun_from_what_an_earlier_step_wrote() -> None:
    written: set[str] = set()
    for command in commands():
        for name in ("--init", "--run", "--midway"):
            assert name not in command or option(command, name) in written
        if "--out" in command:
            written.add(written_by(command))
    assert "run/tiny.safetensors" in written


@pytest.mark.parametrize("excluded", [False, True])
def test_no_stage_sees_photos_that_are_to_be_left_out(*, excluded: bool) -> None:
    given = list(Recipe(SHARDS, Path("run"), on_gpu=True, exclude_nc_nd=excluded).commands())
    for command in of("train", given):
        assert ("--exclude-nc-nd" in command) == excluded


def test_every_stage_goes_on_from_the_one_before_it() -> None:
    trained = of("train", commands())
    assert [option(command, "--out") for command in trained] == [f"run/{s.name}" for s in STAGES]
    assert "--init" not in trained[0]
    for stage, command in zip(STAGES, trained[1:], strict=False):
        assert option(command, "--init").startswith(
            f"run/{stage.name}{'.' if stage.midway else '/'}"
        )


def test_what_follows_a_stage_midway_is_half_what_it_began_from() -> None:
    given = commands()
    began = {
        option(command, "--out"): option(command, "--init") for command in of("train", given)[1:]
    }
    half = [command for command in of("export", given) if "--midway" in command]
    assert len(half) == sum(stage.midway for stage in STAGES)
    for command in half:
        folder = str(Path(option(command, "--run")).parent)
        assert option(command, "--midway") == began[folder]


def test_the_model_annotates_between_the_stages_before_and_after() -> None:
    given = commands()
    at = given.index(of("annotate", given)[0])
    assert option(given[at - 1], "--out") == f"run/{ANNOTATES}"
    assert option(given[at], "--init") == option(given[at + 1], "--init")


def test_no_stage_sees_the_samples_of_another_nor_of_another_seed() -> None:
    seeds = [
        option(command, "--seed") for seed in (1, 2) for command in of("train", commands(seed=seed))
    ]
    assert len(set(seeds)) == 2 * len(STAGES)


def test_a_share_is_of_the_minutes_and_of_the_photos_to_annotate() -> None:
    short = commands(share=0.1)
    for stage, command in zip(STAGES, of("train", short), strict=True):
        assert float(option(command, "--minutes")) == pytest.approx(stage.minutes / 10, abs=1e-3)
    assert option(of("annotate", short)[0], "--every") == "10"
    assert option(of("annotate", commands(share=3.0))[0], "--every") == "1"


@pytest.mark.parametrize("on_gpu", [True, False])
def test_the_training_understands_every_stage(
    on_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in of("train", list(Recipe(SHARDS, Path("run"), on_gpu=on_gpu).commands())):
        monkeypatch.setattr("sys.argv", ["train", *command[2:]])
        understood = train.parse()
        assert understood.size % 16 == 0
        assert understood.batch <= understood.capacity


def test_stopped_it_goes_on_with_the_step_that_was_not_finished(tmp_path: Path) -> None:
    recipe = Recipe(SHARDS, tmp_path, on_gpu=True)
    run: list[Command] = []

    def stops_at_the_fourth(command: Command) -> None:
        run.append(command)
        if len(run) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(recipe, stops_at_the_fourth)
    follow(recipe, run.append)
    whole = list(recipe.commands())
    assert run == [*whole[:4], *whole[3:]]
    follow(recipe, run.append)
    assert len(run) == len(whole) + 1
