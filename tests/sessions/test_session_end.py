"""How a session ends: with its connection, by a hang-up, with its server."""

import pytest

from server.errors import WireError
from server.sessions.effects import Abandon, Free, Hangup, Load
from server.sessions.session import State
from tests.support.annotators import (
    Annotator,
    at_an_image,
    greeted,
)
from tests.support.segments import (
    Image,
    close_code,
    of,
    replies,
    submitted,
    told,
    withdrawn,
)

# The end


def busy_annotator(image: Image) -> Annotator:
    """With an image, a prefetch, a decode that runs and one that waits, and logits remembered."""
    annotator = at_an_image(image)
    annotator.click(1)
    annotator.answers(2)
    annotator.click(1)
    annotator.session.on_started(3)
    annotator.click(2)
    annotator.open(size=10, prefetch=True)
    return annotator


@pytest.mark.parametrize("hangs_up", [False, True])
def test_at_the_end_everything_is_let_go_of_and_nothing_is_answered(hangs_up: bool) -> None:
    image = Image()
    annotator = busy_annotator(image)
    session = annotator.session
    effects = session.hang_up("idle", "bye") if hangs_up else session.end()
    assert replies(effects) == []
    assert of(Free, effects) == [Free(image)]
    assert sorted(withdrawn(effects)) == [3, 4]
    assert of(Abandon, effects) == [Abandon(5)]
    assert (session.remembered_bytes, annotator.budget.used, session.at_work) == (0, 0, False)
    if hangs_up:
        assert close_code(effects) == 4204


def test_after_the_end_everything_is_ignored() -> None:
    annotator = busy_annotator(Image())
    annotator.session.end()
    assert annotator.hello() == []
    assert annotator.open() == []
    assert annotator.click() == []
    assert annotator.sends_garbage() == []
    assert annotator.waits(1e6) == []
    assert annotator.answers(3) == []
    assert annotator.session.end() == []
    assert annotator.session.hang_up("idle", "bye") == []
    late = Image()
    assert annotator.opened(late, to=5) == [Free(late)]


def test_after_a_hang_up_the_connection_that_ends_has_nothing_left_to_free() -> None:
    annotator = busy_annotator(Image())
    annotator.waits(1e6)
    assert annotator.session.end() == []


# The server stops


def drained(annotator: Annotator) -> Annotator:
    assert told(annotator.session.drain(10.0)) == [("draining", None)]
    return annotator


def test_while_the_server_drains_nothing_new_is_begun() -> None:
    annotator = drained(at_an_image())
    assert told(annotator.click()) == [("error", 2, "restarting")]
    assert annotator.hover() == []
    assert told(annotator.open()) == [("error", 4, "restarting")]
    assert told(annotator.open(prefetch=True)) == [("error", 5, "restarting")]
    assert not annotator.session.at_work
    assert annotator.session.state is State.OPEN


def test_what_was_asked_before_a_drain_goes_on() -> None:
    annotator = greeted()
    annotator.open()
    annotator.click()
    drained(annotator)
    (load,) = of(Load, annotator.data(10, to=1))
    assert load.id == 1
    assert told(annotator.click()) == []  # in its turn
    assert submitted(annotator.opened(Image(), to=1)) == [2]
    assert told(annotator.answers(2)) == [("mask", 2), ("error", 3, "restarting")]
    assert told(annotator.close()) == [("done", 4)]


def test_a_stop_tells_all_that_it_cuts_off_to_come_back() -> None:
    annotator = busy_annotator(Image())
    annotator.hover()
    effects = annotator.session.hang_up("restarting", "the server is stopping")
    assert sorted(told(effects)) == [("error", id_, "restarting") for id_ in (3, 4, 5, 6)]
    assert close_code(effects) == 1012
    assert not annotator.session.at_work


def test_what_waits_for_an_open_that_a_stop_ends_is_told_to_come_back_too() -> None:
    annotator = greeted()
    annotator.open()
    annotator.click()
    error = WireError("restarting", "the server is stopping")
    effects = annotator.session.on_open_failed(1, error, 0.0)
    assert told(effects) == [("error", 1, "restarting"), ("error", 2, "restarting")]


def test_a_hover_from_before_a_drain_is_answered_whatever_comes_after_it() -> None:
    annotator = at_an_image()
    annotator.hover()
    drained(annotator)
    assert annotator.hover() == []
    assert told(annotator.answers(2)) == [("mask", 2)]


def test_however_much_is_asked_of_a_server_that_drains_is_no_abuse() -> None:
    annotator = drained(at_an_image(max_errors_per_min=1.0))
    for _ in range(50):
        assert of(Hangup, [*annotator.click(), *annotator.open()]) == []


def test_a_server_that_drains_does_not_wait_for_a_hello() -> None:
    annotator = Annotator()
    assert close_code(annotator.session.drain(10.0)) == 1012
    assert annotator.session.drain(10.0) == []
