from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.queue import (
    CLICK_WAITS_S,
    MOST_OWED_S,
    MOST_PASSED_OVER,
    Batch,
    DecodeKind,
    EncodeStep,
    Queue,
)

Clicks = Iterable[tuple[str, str]]


def queue(max_batch: int = 1, clicks: Clicks = (), hovers: Clicks = ()) -> Queue[str, str]:
    """A queue with (session, job) pairs in it."""
    made: Queue[str, str] = Queue(max_batch)
    for session, job in clicks:
        made.push(session, "click", job)
    for session, job in hovers:
        made.push(session, "hover", job)
    return made


def batches(of: Queue[str, str], count: int) -> list[str]:
    """What the next turns do, in short: jobs of a batch joined, `+` before an encode."""
    return [_in_short(_turn(of)) for _ in range(count)]


def _turn(of: Queue[str, str], step_s: float = 0.01) -> Batch[str] | EncodeStep[str] | None:
    """One turn of a device that takes 20 ms for a batch."""
    work = of.next()
    if work is not None:
        of.spent(work, 0.02 if isinstance(work, Batch) else step_s)
    return work


def _in_short(work: Batch[str] | EncodeStep[str] | None) -> str:
    if isinstance(work, Batch):
        return " ".join(work.jobs)
    return "" if work is None else f"+{work.encode}"


# Who goes first


def test_an_empty_queue_has_nothing_to_do() -> None:
    assert queue().next() is None


def test_clicks_go_before_hovers_hovers_before_encodes_and_those_before_prefetches() -> None:
    waiting = queue(clicks=[("a", "click")], hovers=[("b", "hover")])
    waiting.push_encode("prefetch", prefetch=True)
    waiting.push_encode("open", prefetch=False)
    order = [_in_short(waiting.next()) for _ in range(3)]
    waiting.finish_encode("open")
    assert [*order, _in_short(waiting.next())] == ["click", "hover", "+open", "+prefetch"]


def test_between_clicks_an_encode_gets_as_long_as_the_last_one_took() -> None:
    waiting = queue(clicks=[("a", f"c{i}") for i in range(3)])
    waiting.push_encode("open", prefetch=False)
    assert batches(waiting, 7) == ["c0", "+open", "+open", "c1", "+open", "+open", "c2"]


def test_a_click_waits_no_longer_than_it_may_however_much_is_owed() -> None:
    waiting = queue(hovers=[("a", "h0"), ("a", "h1")])
    waiting.push_encode("open", prefetch=False)
    slow = waiting.next()
    assert slow is not None
    waiting.spent(slow, 0.2)
    waiting.push("b", "click", "c0")
    steps = int(CLICK_WAITS_S / 0.01)
    assert batches(waiting, steps + 1) == ["+open"] * steps + ["c0"]


@given(batch_s=st.floats(0.001, 1.0), clicks=st.integers(1, 100))
def test_what_clicks_owe_to_an_encode_never_freezes_hovers_for_long(
    batch_s: float, clicks: int
) -> None:
    waiting = queue(clicks=[("a", f"c{i}") for i in range(clicks)], hovers=[("b", "h")])
    waiting.push_encode("open", prefetch=False)
    frozen_s = 0.0
    while waiting.decodes_waiting:
        work = waiting.next()
        assert work is not None
        waiting.spent(work, 0.01 if isinstance(work, EncodeStep) else batch_s)
        frozen_s = frozen_s + 0.01 if isinstance(work, EncodeStep) else 0.0
        assert frozen_s <= MOST_OWED_S + 0.01 + 1e-6


@pytest.mark.parametrize("prefetch", [False, True])
def test_before_the_next_hover_an_encode_gets_as_long_as_the_last_one_took(prefetch: bool) -> None:
    waiting = queue(hovers=[("a", f"h{i}") for i in range(3)])
    waiting.push_encode("open", prefetch=prefetch)
    assert batches(waiting, 7) == ["h0", "+open", "+open", "h1", "+open", "+open", "h2"]


@given(step_s=st.floats(0.001, 0.05), batch_s=st.floats(0.001, 0.2))
def test_under_ceaseless_hovers_an_open_takes_at_most_twice_as_long(
    step_s: float, batch_s: float
) -> None:
    waiting: Queue[str, str] = Queue()
    waiting.push_encode("open", prefetch=False)
    taken_s = {"hover": 0.0, "open": 0.0}
    for turn in range(400):
        waiting.push("a", "hover", f"h{turn}")
        work = waiting.next()
        assert work is not None
        took_s, by = (batch_s, "hover") if isinstance(work, Batch) else (step_s, "open")
        waiting.spent(work, took_s)
        taken_s[by] += took_s
    assert taken_s["hover"] <= taken_s["open"] + batch_s + 1e-6


def test_a_step_longer_than_what_was_owed_is_taken_off_what_will_be() -> None:
    waiting = queue(hovers=[("a", f"h{i}") for i in range(5)])
    waiting.push_encode("open", prefetch=False)
    turns = [_in_short(_turn(waiting, step_s=0.05)) for _ in range(6)]
    assert turns == ["h0", "+open", "h1", "h2", "+open", "h3"]


def test_the_time_for_which_the_device_stood_still_for_masks_is_owed_too() -> None:
    waiting = queue(hovers=[("a", f"h{i}") for i in range(4)])
    waiting.push_encode("open", prefetch=False)
    assert batches(waiting, 1) == ["h0"]
    waiting.stood(0.02)
    assert batches(waiting, 5) == ["+open", "+open", "+open", "+open", "h1"]


def test_while_no_more_decodes_may_begin_an_encode_goes_on_or_nothing_does() -> None:
    waiting = queue(clicks=[("a", "c0")])
    assert waiting.next(decodes=False) is None
    waiting.push_encode("open", prefetch=False)
    assert waiting.next(decodes=False) == EncodeStep("open")
    assert waiting.next(encode_ready=False, decodes=False) is None
    assert waiting.decodes_waiting == 1


def test_what_was_owed_to_one_encode_is_not_owed_to_the_next() -> None:
    waiting = queue(hovers=[("a", "h0"), ("a", "h1")])
    waiting.push_encode("one", prefetch=False)
    waiting.push_encode("two", prefetch=False)
    assert batches(waiting, 1) == ["h0"]
    waiting.finish_encode("one")
    assert batches(waiting, 2) == ["h1", "+two"]


def test_batches_before_an_encode_came_are_not_owed_to_it() -> None:
    waiting = queue(clicks=[("a", f"c{i}") for i in range(6)])
    batches(waiting, 4)
    waiting.push_encode("open", prefetch=False)
    assert batches(waiting, 4) == ["c4", "+open", "+open", "c5"]


def test_an_encode_alone_saves_nothing_up() -> None:
    waiting = queue()
    waiting.push_encode("open", prefetch=False)
    batches(waiting, 50)
    waiting.push("a", "hover", "h0")
    waiting.push("a", "hover", "h1")
    assert batches(waiting, 3) == ["h0", "+open", "+open"]


def test_an_encode_whose_pixels_are_not_read_yet_holds_nothing_up() -> None:
    waiting = queue(clicks=[("a", "c0"), ("a", "c1"), ("a", "c2")])
    waiting.push_encode("open", prefetch=False)
    for expected in ("c0", "c1", "c2", ""):
        work = waiting.next(encode_ready=False)
        assert _in_short(work) == expected
        if work is not None:
            waiting.spent(work, 0.02)
    waiting.push("a", "hover", "h0")
    assert batches(waiting, 2) == ["h0", "+open"], "what it could not have had is not owed to it"


# Fairness


def test_sessions_take_turns() -> None:
    waiting = queue(clicks=[("a", "a0"), ("a", "a1"), ("a", "a2"), ("b", "b0"), ("c", "c0")])
    assert batches(waiting, 5) == ["a0", "b0", "c0", "a1", "a2"]


def test_one_sessions_clicks_without_end_do_not_keep_another_from_its_hovers() -> None:
    waiting = queue(clicks=[("a", f"c{i}") for i in range(20)], hovers=[("b", "h0"), ("b", "h1")])
    order = batches(waiting, 2 * MOST_PASSED_OVER + 2)
    assert [order.index("h0"), order.index("h1")] == [MOST_PASSED_OVER, 2 * MOST_PASSED_OVER + 1]


def test_who_was_served_last_goes_last() -> None:
    waiting = queue(clicks=[("a", "a0"), ("b", "b0")])
    assert batches(waiting, 1) == ["a0"]
    waiting.push("a", "click", "a1")
    assert batches(waiting, 2) == ["b0", "a1"]


def test_the_clicks_of_one_session_go_in_order() -> None:
    waiting = queue(max_batch=4, clicks=[("a", f"a{i}") for i in range(4)])
    assert batches(waiting, 1) == ["a0 a1 a2 a3"]


def test_a_hover_that_replaces_another_keeps_its_turn() -> None:
    waiting = queue(hovers=[("a", "a0"), ("b", "b0")])
    for i in range(5):
        waiting.cancel("a", "hover", f"a{i}")
        waiting.push("a", "hover", f"a{i + 1}")
    assert batches(waiting, 3) == ["a5", "b0", ""]


def test_a_turn_without_a_job_is_passed_over_and_lost() -> None:
    waiting = queue(max_batch=2, clicks=[("a", "a0"), ("b", "b0"), ("c", "c0"), ("d", "d0")])
    waiting.cancel("a", "click", "a0")
    assert batches(waiting, 1) == ["b0 c0"]
    waiting.push("a", "click", "a1")
    assert batches(waiting, 1) == ["d0 a1"]


# Batches


def test_clicks_form_a_batch_and_hovers_fill_its_free_places() -> None:
    waiting = queue(
        max_batch=3,
        clicks=[("a", "c0"), ("b", "c1")],
        hovers=[("c", "h0"), ("d", "h1")],
    )
    assert batches(waiting, 3) == ["c0 c1 h0", "h1", ""]


def test_a_batch_holds_no_more_than_fits() -> None:
    waiting = queue(max_batch=2, clicks=[("a", "c0"), ("b", "c1"), ("c", "c2")])
    assert batches(waiting, 2) == ["c0 c1", "c2"]


def test_a_lone_click_does_not_wait_for_company() -> None:
    assert batches(queue(max_batch=64, clicks=[("a", "c0")]), 1) == ["c0"]


# Cancel


@pytest.mark.parametrize("kind", ["click", "hover"])
def test_what_is_cancelled_does_not_run(kind: DecodeKind) -> None:
    waiting = queue()
    waiting.push("a", kind, "first")
    waiting.push("a", kind, "second")
    assert waiting.cancel("a", kind, "first")
    assert batches(waiting, 2) == ["second", ""]


def test_what_does_not_wait_cannot_be_cancelled() -> None:
    waiting = queue(clicks=[("a", "c0")])
    assert not waiting.cancel("a", "click", "c1")
    assert not waiting.cancel("b", "click", "c0")
    assert not waiting.cancel("a", "hover", "c0")
    waiting.next()
    assert not waiting.cancel("a", "click", "c0")


def test_decodes_are_counted() -> None:
    waiting = queue(clicks=[("a", "c0"), ("a", "c1")], hovers=[("b", "h0")])
    waiting.cancel("a", "click", "c0")
    assert waiting.decodes_waiting == 2
    batches(waiting, 2)
    assert waiting.decodes_waiting == 0


# Encodes


def test_encodes_run_one_at_a_time_first_come_first_served() -> None:
    waiting = queue()
    waiting.push_encode("one", prefetch=False)
    waiting.push_encode("two", prefetch=False)
    assert batches(waiting, 2) == ["+one", "+one"]
    waiting.finish_encode("one")
    waiting.finish_encode("one")
    assert batches(waiting, 1) == ["+two"]


def test_an_open_goes_before_a_prefetch_that_has_begun() -> None:
    waiting = queue()
    waiting.push_encode("prefetch", prefetch=True)
    assert batches(waiting, 1) == ["+prefetch"]
    waiting.push_encode("open", prefetch=False)
    assert batches(waiting, 1) == ["+open"]


def test_a_prefetch_that_is_opened_waits_with_the_opens() -> None:
    waiting = queue()
    for name in ("first", "second"):
        waiting.push_encode(name, prefetch=True)
    waiting.push_encode("open", prefetch=False)
    waiting.promote_encode("second")
    waiting.promote_encode("open")
    assert waiting.encodes == ("open", "second", "first")


def test_an_encode_knows_how_many_go_before_it() -> None:
    waiting = queue()
    waiting.push_encode("prefetch", prefetch=True)
    waiting.push_encode("one", prefetch=False)
    waiting.push_encode("two", prefetch=False)
    ahead = [waiting.encodes_ahead(name) for name in ("one", "two", "prefetch", "gone")]
    assert ahead == [0, 1, 2, 0]


def test_an_encode_waiting_to_be_opened_can_be_given_up() -> None:
    waiting = queue()
    waiting.push_encode("one", prefetch=False)
    waiting.push_encode("two", prefetch=True)
    waiting.finish_encode("two")
    waiting.finish_encode("one")
    assert (waiting.encodes, waiting.next()) == ((), None)


# All of it


@given(
    pushes=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["click", "hover"]))),
    cancelled=st.sets(st.integers(0, 30)),
    max_batch=st.integers(1, 4),
    has_encode=st.booleans(),
)
def test_everything_pushed_runs_once_unless_it_is_cancelled(
    pushes: list[tuple[str, DecodeKind]],
    cancelled: set[int],
    max_batch: int,
    *,
    has_encode: bool,
) -> None:
    waiting: Queue[int, str] = Queue(max_batch)
    for job, (session, kind) in enumerate(pushes):
        waiting.push(session, kind, job)
    if has_encode:
        waiting.push_encode("open", prefetch=False)
    for job in cancelled & set(range(len(pushes))):
        assert waiting.cancel(*pushes[job], job)
    done: list[int] = []
    steps_wanted = False
    while waiting.decodes_waiting:
        work = waiting.next()
        assert work is not None
        waiting.spent(work, 0.01)
        if isinstance(work, EncodeStep):
            steps_wanted = False
            continue
        assert 1 <= len(work.jobs) <= max_batch
        assert not steps_wanted, "two batches in a row while an encode waits"
        steps_wanted = has_encode
        done += work.jobs
    assert sorted(done) == sorted(set(range(len(pushes))) - cancelled)
