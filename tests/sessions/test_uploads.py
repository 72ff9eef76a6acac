from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import WireError
from server.sessions.uploads import RESERVED_BYTES, Upload, UploadBudget
from tests.support.annotators import rules

RULES = rules(upload_timeout_s=10.0, min_upload_bytes_per_s=100.0)


def upload(size: int, budget: UploadBudget | None = None) -> Upload:
    return Upload(size, budget or UploadBudget(10_000), RULES)


def started(size: int, budget: UploadBudget | None = None) -> Upload:
    begun = upload(size, budget)
    begun.start(0.0)
    return begun


def test_the_budget_holds_exactly_what_it_says() -> None:
    budget = UploadBudget(10)
    budget.take(4)
    budget.take(6)
    with pytest.raises(WireError) as refused:
        budget.take(1)
    assert (refused.value.code, refused.value.retry_after, budget.used) == ("overload", 1.0, 10)
    budget.give(1)
    budget.take(1)


def test_an_upload_takes_its_room_when_it_starts() -> None:
    budget = UploadBudget(10)
    waiting = upload(8, budget)
    assert (budget.used, waiting.receiving) == (0, False)
    waiting.start(0.0)
    assert (budget.used, waiting.receiving) == (8, True)


def test_who_announces_much_and_sends_nothing_takes_little_room() -> None:
    budget = UploadBudget(100 * RESERVED_BYTES)
    large = started(32 * RESERVED_BYTES, budget)
    assert budget.used == RESERVED_BYTES
    large.add(bytes(RESERVED_BYTES), 0.0)
    assert budget.used == RESERVED_BYTES
    large.add(b"x", 0.0)
    assert budget.used == 2 * RESERVED_BYTES + 1
    large.end()
    assert budget.used == 0


def test_an_upload_for_whose_bytes_there_is_no_more_room_is_told_so() -> None:
    budget = UploadBudget(2 * RESERVED_BYTES)
    large = started(4 * RESERVED_BYTES, budget)
    budget.take(RESERVED_BYTES)
    large.add(bytes(RESERVED_BYTES), 0.0)
    with pytest.raises(WireError) as refused:
        large.add(b"x", 0.0)
    assert (refused.value.code, refused.value.retry_after) == ("overload", 1.0)
    large.end()
    assert budget.used == RESERVED_BYTES


def test_an_upload_that_got_no_room_gives_none_back() -> None:
    budget = UploadBudget(10)
    budget.take(5)
    refused = upload(8, budget)
    with pytest.raises(WireError, match="too many"):
        refused.start(0.0)
    assert not refused.receiving
    refused.end()
    assert budget.used == 5


def test_the_room_stays_taken_until_the_end_and_comes_back_once() -> None:
    budget = UploadBudget(10)
    whole = started(4, budget)
    whole.add(b"abcd", 0.0)
    assert (whole.take_bytes(), budget.used, whole.receiving) == (b"abcd", 4, False)
    whole.end()
    whole.end()
    assert budget.used == 0


def test_chunks_add_up_to_the_image() -> None:
    parts = started(5)
    for chunk in (b"a", b"bc", b"de"):
        assert not parts.complete
        parts.add(chunk, 0.0)
    assert parts.complete
    assert parts.take_bytes() == b"abcde"


def test_bytes_beyond_the_size_are_refused() -> None:
    full = started(3)
    full.add(b"ab", 0.0)
    with pytest.raises(WireError) as refused:
        full.add(b"cd", 0.0)
    assert (refused.value.code, refused.value.field) == ("bad_data", "bytes")


class Full(bytearray):
    """A buffer for whose growth, and for a copy of which, there is no memory."""

    def __iadd__(self, _: object) -> Self:
        raise MemoryError

    def __bytes__(self) -> bytes:
        raise MemoryError


@pytest.mark.parametrize("held", [b"", b"ab"], ids=["growing", "handing over"])
def test_without_memory_for_its_bytes_an_upload_is_told_to_come_again(held: bytes) -> None:
    budget = UploadBudget(10)
    cramped = started(2, budget)
    cramped._buffer = Full(held)
    with pytest.raises(WireError) as refused:
        cramped.take_bytes() if cramped.complete else cramped.add(b"ab", 0.0)
    assert (refused.value.code, refused.value.retry_after) == ("overload", 1.0)
    cramped.end()
    assert budget.used == 0


def test_asking_whether_it_stalls_changes_nothing() -> None:
    slow = started(10_000)
    for now in range(11):
        slow.add(b"x" * 10, float(now))
    assert [slow.is_stalled(10.5) for _ in range(3)] == [True] * 3


def test_an_upload_stalls_when_nothing_comes() -> None:
    slow = started(10_000)
    slow.add(b"x" * 9_000, 5.0)
    assert not slow.is_stalled(14.9)
    assert slow.is_stalled(15.0)


def test_an_upload_stalls_when_too_little_comes() -> None:
    slow = started(1000)
    for now in range(10):
        slow.add(b"x" * 10, float(now))
    assert not slow.is_stalled(9.9)
    slow.add(b"x" * 10, 10.0)
    assert slow.is_stalled(10.0)


@given(
    gap=st.integers(1, 9),
    bytes_per_s=st.integers(100, 1000),
    lead=st.integers(0, 100_000),
    ticks=st.integers(1, 5),
)
def test_a_steady_upload_that_is_fast_enough_never_stalls(
    gap: int, bytes_per_s: int, lead: int, ticks: int
) -> None:
    steady = started(1_000_000, UploadBudget(2_000_000))
    steady.add(bytes(lead), 0.0)
    for now in range(1, 200):
        if now % gap == 0:
            steady.add(bytes(gap * bytes_per_s), float(now))
        if now % ticks == 0:
            assert not steady.is_stalled(now + 0.5)


@given(gap=st.integers(1, 9), bytes_per_s=st.integers(1, 99), lead=st.integers(0, 900_000))
def test_one_that_is_too_slow_stalls_in_twice_the_timeout_and_a_lead_buys_it_once_more(
    gap: int, bytes_per_s: int, lead: int
) -> None:
    slow = started(1_000_000, UploadBudget(2_000_000))
    slow.add(bytes(lead), 0.0)

    def stalls_at(now: int) -> bool:
        if now % gap == 0:
            slow.add(bytes(gap * bytes_per_s), float(now))
        return slow.is_stalled(float(now))

    assert any(stalls_at(now) for now in range(1, 20 if lead == 0 else 40))


def test_an_upload_that_has_not_started_or_has_ended_does_not_stall() -> None:
    assert not upload(10).is_stalled(1e6)
    ended = started(10)
    ended.end()
    assert not ended.is_stalled(1e6)
    whole = started(1)
    whole.add(b"x", 0.0)
    whole.take_bytes()
    assert not whole.is_stalled(1e6)
