"""What annotators do, and when: schedules drawn ahead of time, whatever the server does. Pure.

An open loop: the next click is due when an annotator would click, not when the last reply came.
Clicks and image changes are Poisson processes; the mouse moves and rests by turns, and while it
moves there are so many hovers a second. Places are fractions of the image's width and height.
"""

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["SCENARIOS", "ChangeImage", "Click", "Event", "Hover", "Scenario", "schedule"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """How one annotator works."""

    name: str
    summary: str
    clicks_per_s: float = 1.0
    hovers_per_s: float = 0.0
    """While the mouse moves."""
    moving_s: float = 2.0
    """Mean time the mouse moves, then rests as long."""
    image_changes_per_min: float = 0.0
    clicks_per_object: float = 3.0
    """Mean; the first one starts an object, the others refine it."""


@dataclass(frozen=True, slots=True)
class Click:
    """A point; `starts` a new object or refines the present one."""

    at_s: float
    x: float
    y: float
    label: int
    starts: bool


@dataclass(frozen=True, slots=True)
class Hover:
    """The mouse is here."""

    at_s: float
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class ChangeImage:
    """On to another image."""

    at_s: float


Event = Click | Hover | ChangeImage

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("clicks", "clicks only"),
        Scenario("hovers", "clicks, and a preview under the moving mouse", hovers_per_s=30.0),
        Scenario(
            "annotating",
            "clicks and previews, on to the next image every minute",
            hovers_per_s=30.0,
            image_changes_per_min=1.0,
        ),
        Scenario(
            "browsing",
            "an image every ten seconds, a click every two",
            clicks_per_s=0.5,
            image_changes_per_min=6.0,
        ),
        Scenario(
            "storm",
            "a mouse that never rests, at twice the rate",
            hovers_per_s=60.0,
            moving_s=math.inf,
            image_changes_per_min=2.0,
        ),
    )
}


def schedule(scenario: Scenario, seed: int) -> Iterator[Event]:
    """All one annotator will do, in order, for ever; the same for the same seed."""
    streams = (
        _clicks(scenario, random.Random(f"clicks {seed}")),
        _hovers(scenario, random.Random(f"hovers {seed}")),
        _changes(scenario, random.Random(f"changes {seed}")),
    )
    return heapq.merge(*streams, key=lambda event: event.at_s)


def _arrivals(rate_per_s: float, rng: random.Random) -> Iterator[float]:
    at_s = 0.0
    while rate_per_s > 0:
        at_s += rng.expovariate(rate_per_s)
        yield at_s


def _clicks(scenario: Scenario, rng: random.Random) -> Iterator[Event]:
    starts = True
    for at_s in _arrivals(scenario.clicks_per_s, rng):
        label = 1 if starts or rng.random() < 0.7 else 0
        yield Click(at_s, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), label, starts)
        starts = rng.random() < 1 / scenario.clicks_per_object


def _hovers(scenario: Scenario, rng: random.Random) -> Iterator[Event]:
    """Along a curve that never leaves the image, as a hand would go."""
    if scenario.hovers_per_s <= 0:
        return
    phases = [rng.uniform(0, math.tau) for _ in range(2)]
    begin_s = 0.0 if math.isinf(scenario.moving_s) else rng.uniform(0, 2 * scenario.moving_s)
    while True:
        moves_s = _turn(scenario.moving_s, rng)
        for step in range(math.ceil(min(moves_s, 1e6) * scenario.hovers_per_s)):
            at_s = begin_s + step / scenario.hovers_per_s
            x, y = math.sin(1.1 * at_s + phases[0]), math.sin(0.7 * at_s + phases[1])
            yield Hover(at_s, 0.5 + 0.4 * x, 0.5 + 0.4 * y)
        begin_s += moves_s + _turn(scenario.moving_s, rng)


def _turn(mean_s: float, rng: random.Random) -> float:
    return mean_s if math.isinf(mean_s) else rng.expovariate(1 / mean_s)


def _changes(scenario: Scenario, rng: random.Random) -> Iterator[Event]:
    return (ChangeImage(at_s) for at_s in _arrivals(scenario.image_changes_per_min / 60, rng))
