import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_demo.reconnect import after_close, backoff_s, reason_of
from server.errors import CLOSE_CODES


@pytest.mark.parametrize("code", CLOSE_CODES)
def test_the_client_does_what_the_table_of_close_codes_says(code: int) -> None:
    meaning = CLOSE_CODES[code]
    expected = "stop" if "Stop" in meaning else "retry" if "back-off" in meaning else "sleep"

    assert after_close(code) == expected


@pytest.mark.parametrize(
    ("code", "action"),
    [(1001, "retry"), (1006, "retry"), (4099, "stop"), (4100, "retry"), (4299, "sleep")],
)
def test_unknown_codes_follow_their_class(code: int, action: str) -> None:
    assert after_close(code) == action


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_random_and_never_over_30_s(attempt: int, chance: float) -> None:
    assert 0 <= backoff_s(attempt, lambda: chance) <= 30


def test_the_wait_doubles() -> None:
    assert [backoff_s(attempt, lambda: 0.5) for attempt in range(8)] == [
        0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0,
    ]  # fmt: skip


def test_the_first_wait_is_up_to_a_second() -> None:
    assert backoff_s(0, lambda: 0.25) == 0.25


def test_a_reason_of_the_servers_is_read() -> None:
    error = reason_of(1013, "full: every place is taken")

    assert (error.code, error.message, error.fault) == ("full", "every place is taken", "overload")


@pytest.mark.parametrize("reason", ["", "going away", "nobody: knows this", "full"])
def test_a_reason_of_somebody_elses_is_passed_on(reason: str) -> None:
    error = reason_of(1011, reason)

    assert error.code == "connection_lost"
    assert f"1011 {reason}".strip() in error.message
