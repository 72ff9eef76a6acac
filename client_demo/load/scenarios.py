"""What annotators do, and when: schedules drawn ahead of time, whatever the server does. Pure.

An open loop: the next click is due when an annotator would click, not when the last reply came.
Clicks and image changes are Poisson processes; the mouse moves and rests by turns, and while it
moves there are so many hovers a second. Places are fractions of the image's width and height.

Beside the annotators there may be a companion: one session with other habits. Then either they or
it are kept waiting by the other, and what is told is how much longer than alone.
"""

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "SCENARIOS",
    "ChangeImage",
    "Click",
    "Companion",
    "Event",
    "Habits",
    "Hover",
    "Percentile",
    "Scenario",
    "Slowdown",
    "schedule",
]

Percentile = Literal["p50", "p99"]


@dataclass(frozen=True, slots=True)
class Habits:
    """How one session works."""

    clicks_per_s: float = 1.0
    hovers_per_s: float = 0.0
    """While the mouse moves."""
    moving_s: float = 2.0
    """Mean time the mouse moves, then rests as long."""
    image_changes_per_min: float = 0.0
    """Infinite: on to the next image as soon as one is open."""
    clicks_per_object: float = 3.0
    """Mean; the first one starts an object, the others refine it."""


@dataclass(frozen=True, slots=True)
class Slowdown:
    """How much longer somebody waits in company: a percentile then over one of theirs alone."""

    kind: Literal["clicks", "open"]
    beside: Percentile
    alone: Percentile

    def __str__(self) -> str:
        return f"{self.kind}, {self.beside} in company over {self.alone} alone"


@dataclass(frozen=True, slots=True)
class Companion:
    """One more session beside the annotators, which works another way."""

    habits: Habits
    slowdowns: tuple[Slowdown, ...]
    """Of whoever is kept waiting; a threshold is about the first."""
    is_kept_waiting: bool = False
    """By the annotators, rather than they by it."""
    may_be_refused: tuple[str, ...] = ()
    """Codes of errors that it asks for."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """How annotators work, and in what company."""

    name: str
    summary: str
    habits: Habits
    companion: Companion | None = None


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

_OPENING = Habits(clicks_per_s=0.0, image_changes_per_min=math.inf)

# All that the server's limits (server/config.py) let one session do; beyond them it would be closed
# for abuse, and the annotators be alone again. Clicks and hovers together come to `segments_per_s`;
# hovers over that rate are no abuse, but only held. Every click is of a new object, so that none
# overtakes another: soon `max_waiting_clicks` of them wait, and more are refused. The server puts
# up with `max_errors_per_min`, 600, refusals at once and ten more a second: with forty clicks a
# second for 20 s even if not one is answered, and for ever where thirty are.
_GREEDY = Habits(clicks_per_s=40.0, hovers_per_s=160.0, moving_s=math.inf, clicks_per_object=1.0)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("clicks", "clicks only", Habits()),
        Scenario(
            "hovers", "clicks, and a preview under the moving mouse", Habits(hovers_per_s=30.0)
        ),
        Scenario(
            "annotating",
            "clicks and previews, on to the next image every minute",
            Habits(hovers_per_s=30.0, image_changes_per_min=1.0),
        ),
        Scenario(
            "browsing",
            "an image every ten seconds, a click every two",
            Habits(clicks_per_s=0.5, image_changes_per_min=6.0),
        ),
        Scenario(
            "storm",
            "a mouse that never rests, at twice the rate",
            Habits(hovers_per_s=60.0, moving_s=math.inf, image_changes_per_min=2.0),
        ),
        Scenario(
            "beside_opens",
            "clicks, beside one who opens image after image",
            Habits(),
            Companion(
                _OPENING, (Slowdown("clicks", "p99", "p50"), Slowdown("clicks", "p99", "p99"))
            ),
        ),
        Scenario(
            "beside_greedy",
            "clicks and previews, beside one who asks for all that the limits allow",
            Habits(hovers_per_s=30.0),
            Companion(
                _GREEDY,
                (Slowdown("clicks", "p99", "p99"), Slowdown("clicks", "p99", "p50")),
                may_be_refused=("busy", "rate_limited"),
            ),
        ),
        Scenario(
            "opens_beside_hovers",
            "one who opens image after image, beside mice that never rest",
            Habits(clicks_per_s=0.2, hovers_per_s=60.0, moving_s=math.inf),
            Companion(_OPENING, (Slowdown("open", "p50", "p50"),), is_kept_waiting=True),
        ),
    )
}


def schedule(habits: Habits, seed: int) -> Iterator[Event]:
    """All one annotator will do, in order, for ever; the same for the same seed."""
    streams = (
        _clicks(habits, random.Random(f"clicks {seed}")),
        _hovers(habits, random.Random(f"hovers {seed}")),
        _changes(habits, random.Random(f"changes {seed}")),
    )
    return heapq.merge(*streams, key=lambda event: event.at_s)


def _arrivals(rate_per_s: float, rng: random.Random) -> Iterator[float]:
    at_s = 0.0
    while rate_per_s > 0:
        at_s += rng.expovariate(rate_per_s)
        yield at_s


def _clicks(habits: Habits, rng: random.Random) -> Iterator[Event]:
    starts = True
    for at_s in _arrivals(habits.clicks_per_s, rng):
        label = 1 if starts or rng.random() < 0.7 else 0
        yield Click(at_s, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), label, starts)
        starts = rng.random() < 1 / habits.clicks_per_object


def _hovers(habits: Habits, rng: random.Random) -> Iterator[Event]:
    """Along a curve that never leaves the image, as a hand would go."""
    if habits.hovers_per_s <= 0:
        return
    phases = [rng.uniform(0, math.tau) for _ in range(2)]
    begin_s = 0.0 if math.isinf(habits.moving_s) else rng.uniform(0, 2 * habits.moving_s)
    while True:
        moves_s = _turn(habits.moving_s, rng)
        for step in range(math.ceil(min(moves_s, 1e6) * habits.hovers_per_s)):
            at_s = begin_s + step / habits.hovers_per_s
            x, y = math.sin(1.1 * at_s + phases[0]), math.sin(0.7 * at_s + phases[1])
            yield Hover(at_s, 0.5 + 0.4 * x, 0.5 + 0.4 * y)
        begin_s += moves_s + _turn(habits.moving_s, rng)


def _turn(mean_s: float, rng: random.Random) -> float:
    return mean_s if math.isinf(mean_s) else rng.expovariate(1 / mean_s)


def _changes(habits: Habits, rng: random.Random) -> Iterator[Event]:
    return (ChangeImage(at_s) for at_s in _arrivals(habits.image_changes_per_min / 60, rng))
