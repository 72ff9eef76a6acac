"""Bodies by themselves: what names a field, and what is read of an image in pieces of any size."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from server.bodies import Form, collect, form_of, json_of, read_point
from server.errors import WireError
from server.sessions.uploads import Upload, UploadBudget
from tests.support.annotators import rules

MOST = 1000
SHARES = st.floats(0, 1)
NO_SHARE = (
    st.floats().filter(lambda value: not 0 <= value <= 1)
    | st.booleans()
    | st.none()
    | st.text(max_size=5)
    | st.lists(SHARES, max_size=2)
)
NO_LABEL = st.integers().filter(lambda value: value not in {0, 1}) | st.booleans() | st.text()
NO_BOOL = st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.booleans())


def refusal(body: object) -> tuple[str, str | None]:
    with pytest.raises(WireError) as refused:
        read_point(json.dumps(body).encode())
    return refused.value.code, refused.value.field


@given(SHARES, SHARES, st.sampled_from([0, 1]), st.booleans())
def test_a_point_is_read_as_it_was_meant(x: float, y: float, label: int, reset: bool) -> None:
    ask = read_point(json.dumps({"point": [x, y], "label": label, "reset": reset}).encode())
    assert (ask.point, ask.label, ask.reset) == ((x, y), label, reset)


@given(st.integers(0, 1), NO_SHARE)
def test_a_coordinate_that_is_no_share_is_named_by_its_place(place: int, wrong: object) -> None:
    point: list[object] = [0.5, 0.5]
    point[place] = wrong
    assert refusal({"point": point}) == ("bad_field", f"point.{place}")


@given(NO_LABEL)
def test_a_label_that_is_none_is_named(wrong: object) -> None:
    assert refusal({"point": [0.5, 0.5], "label": wrong}) == ("bad_field", "label")


@given(NO_BOOL)
def test_a_reset_that_is_none_is_named(wrong: object) -> None:
    assert refusal({"point": [0.5, 0.5], "reset": wrong}) == ("bad_field", "reset")


@given(st.text("abcdefghijklmnopq_", min_size=1, max_size=150), SHARES)
def test_a_field_that_there_is_not_is_named_though_not_at_any_length(
    name: str, value: float
) -> None:
    if name not in {"point", "label", "reset"}:
        assert refusal({"point": [0.5, 0.5], name: value}) == ("unknown_field", name[:100])


def request(
    headers: dict[str, str] | None = None, pieces: Sequence[bytes] = (), *, ends: bool = True
) -> Request:
    """One whose body comes in these pieces."""
    left = list(pieces)

    async def receive() -> Message:
        if not left and not ends:
            await asyncio.Event().wait()
        body = left.pop(0) if left else b""
        return {"type": "http.request", "body": body, "more_body": bool(left) or not ends}

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def upload(**changes: Any) -> Upload:
    begun = Upload(MOST, UploadBudget(10 << 20), rules(**changes))
    begun.start(time.monotonic())
    return begun


def cut(body: bytes, step: int) -> list[bytes]:
    return [body[start : start + step] for start in range(0, len(body), step)]


def take(pieces: Sequence[bytes], form: Form, into: Upload) -> None:
    asyncio.run(collect(request(pieces=pieces), form, into))


@pytest.mark.parametrize(
    "kind",
    ["image/png", "IMAGE/JPEG", "application/octet-stream", "image/tiff; charset=utf-8"],
)
@given(content=st.binary(min_size=1, max_size=MOST), step=st.integers(1, 300))
def test_an_image_as_the_body_is_the_body(kind: str, content: bytes, step: int) -> None:
    into = upload()
    take(cut(content, step), form_of(request({"content-type": kind}), MOST), into)
    assert into.take_bytes() == content


@given(content=st.binary(min_size=1, max_size=MOST), step=st.integers(1, 300))
def test_an_image_in_a_form_is_the_forms_part(content: bytes, step: int) -> None:
    head = b'--end\r\nContent-Disposition: form-data; name="image"\r\n\r\n'
    form = form_of(request({"content-type": 'multipart/form-data; boundary="end"'}), MOST)
    if b"\r\n--end" not in content:
        into = upload()
        take(cut(head + content + b"\r\n--end--\r\n", step), form, into)
        assert into.take_bytes() == content


@given(st.binary(min_size=MOST + 1, max_size=2 * MOST), st.integers(1, 300))
def test_a_longer_image_than_may_be_is_refused(content: bytes, step: int) -> None:
    form = form_of(request({"content-type": "image/png"}), MOST)
    with pytest.raises(WireError) as refused:
        take(cut(content, step), form, upload())
    assert (refused.value.code, refused.value.field) == ("image_too_large", "image")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "bad_field"),
        ({"content-type": "text/plain"}, "bad_field"),
        ({"content-type": "multipart/form-data"}, "bad_field"),
        ({"content-type": "image/png", "content-length": str(1 << 20)}, "image_too_large"),
        ({"content-type": "image/png", "content-length": "9" * 500}, "image_too_large"),
        ({"content-type": "image/png", "content-length": "-1"}, "image_too_large"),
    ],
)
def test_what_is_no_image_by_its_headers_is_refused_as_one(
    headers: dict[str, str], code: str
) -> None:
    with pytest.raises(WireError) as refused:
        form_of(request(headers), MOST)
    assert (refused.value.code, refused.value.field) == (code, "image")


def test_a_body_that_stops_coming_is_given_up() -> None:
    silent = request(pieces=[b"some"], ends=False)
    form = form_of(request({"content-type": "image/png"}), MOST)
    with pytest.raises(WireError) as refused:
        asyncio.run(collect(silent, form, upload(upload_timeout_s=0.01)))
    assert refused.value.code == "upload_stalled"


@given(st.binary(max_size=500), st.integers(1, 100))
def test_json_is_handed_on_as_it_came(body: bytes, step: int) -> None:
    assert asyncio.run(json_of(request(pieces=cut(body, step)))) == body


def test_json_beyond_64_kib_is_refused_with_and_without_a_length() -> None:
    body = b" " * ((64 << 10) + 1)
    for one in (request({"content-length": str(len(body))}), request(pieces=cut(body, 9000))):
        with pytest.raises(WireError) as refused:
            asyncio.run(json_of(one))
        assert refused.value.code == "bad_field"
