from collections.abc import Generator

from server.engine.models.base import run_steps


def steps() -> Generator[float, None, str]:
    yield 0.25
    yield 0.75
    return "the embedding"


def test_steps_run_to_their_end_tell_each_fraction_and_give_the_result() -> None:
    told: list[float] = []
    assert run_steps(steps(), told.append) == "the embedding"
    assert told == [0.25, 0.75]
