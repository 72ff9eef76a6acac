import re

import pytest

from server.errors import CLOSE_CODES, ERRORS, WireError, close_reason


@pytest.mark.parametrize("code", ERRORS)
def test_an_error_has_a_code_in_words_a_fault_and_a_meaning(code: str) -> None:
    spec = ERRORS[code]

    assert re.fullmatch(r"[a-z][a-z0-9_]*", code)
    assert spec.fault in {"client", "server", "overload"}
    assert spec.meaning.endswith(".")


@pytest.mark.parametrize("code", [code for code in ERRORS if ERRORS[code].close_code])
def test_an_error_that_ends_the_connection_has_a_known_close_code(code: str) -> None:
    assert ERRORS[code].close_code in CLOSE_CODES


@pytest.mark.parametrize("code", CLOSE_CODES)
def test_a_close_code_may_be_sent_and_fits_its_class(code: int) -> None:
    # The library may send these; 1004-1006 and 1015 never travel.
    assert code in {1000, 1002, 1003, 1009, 1011, 1012, 1013} or 4000 <= code <= 4999
    if 4000 <= code < 4100:
        assert "Stop" in CLOSE_CODES[code]
    if 4100 <= code < 4200:
        assert "back-off" in CLOSE_CODES[code]
    if 4200 <= code < 4300:
        assert "next acts" in CLOSE_CODES[code]


def test_close_codes_of_our_own_belong_to_exactly_one_error() -> None:
    owners = [spec.close_code for spec in ERRORS.values() if spec.close_code is not None]

    assert all(owners.count(code) == 1 for code in CLOSE_CODES if code >= 4000)


def test_overload_is_the_only_fault_that_passes_by_itself() -> None:
    overloads = {code for code, spec in ERRORS.items() if spec.fault == "overload"}

    assert overloads == {"full", "busy", "rate_limited", "overload"}


def test_an_error_carries_what_the_wire_says() -> None:
    error = WireError("busy", "16 clicks already wait", field="id", retry_after=0.5)

    assert (error.code, error.message, error.field, error.retry_after) == (
        "busy",
        "16 clicks already wait",
        "id",
        0.5,
    )
    assert error.spec is ERRORS["busy"]


def test_an_error_reads_as_a_sentence() -> None:
    assert str(WireError("bad_field", "expected a number", field="box.1")) == (
        "bad_field (box.1): expected a number"
    )
    assert (
        str(WireError("not_open", "expected an open image")) == "not_open: expected an open image"
    )


def test_an_error_outside_the_table_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        WireError("nonsense", "")


@pytest.mark.parametrize("sentence", ["short", "x" * 500, "\N{PARTY POPPER}" * 50])
def test_a_close_reason_fits_its_frame_and_stays_text(sentence: str) -> None:
    reason = close_reason("full", sentence)
    assert len(reason.encode()) <= 123
    assert f"full: {sentence}".startswith(reason)
    assert reason.startswith("full: ")
