import pytest

from client_demo.errors import ConnectionLost, SamwireError, Superseded, error_of, local_error
from server.errors import ERRORS
from server.protocol import Error


def test_an_error_of_the_server_keeps_all_that_it_says() -> None:
    told = Error(
        id=3,
        code="rate_limited",
        message="slow down",
        field="points.3.1",
        fault="overload",
        retry_after=0.5,
    )
    error = error_of(told)
    assert (error.code, error.message, error.field) == ("rate_limited", "slow down", "points.3.1")
    assert (error.fault, error.retry_after) == ("overload", 0.5)
    assert str(error) == "rate_limited (points.3.1): slow down"


@pytest.mark.parametrize("code", ERRORS)
def test_what_is_noticed_here_is_whose_fault_the_table_says(code: str) -> None:
    error = local_error(code, "no", "box")
    assert (error.code, error.field, error.fault) == (code, "box", ERRORS[code].fault)


def test_without_a_field_an_error_is_its_code_and_a_sentence() -> None:
    assert str(SamwireError("busy", "later")) == "busy: later"


def test_what_happened_to_a_request_is_caught_with_all_other_errors() -> None:
    assert Superseded(by=7).by == 7
    for error in (Superseded(), ConnectionLost("the connection broke")):
        assert isinstance(error, SamwireError)
    assert ConnectionLost("the connection broke").fault == "server"
