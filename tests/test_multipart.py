import contextlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import WireError
from server.multipart import OnePart, boundary_of

HEADER = (
    b'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png'
)
BOUNDARIES = st.text("abcXYZ019'()+_,-./:=?", min_size=1, max_size=70)


def form(content: bytes, *, header: bytes = HEADER, boundary: bytes = b"b") -> bytes:
    return b"--" + boundary + b"\r\n" + header + b"\r\n\r\n" + content + b"\r\n--b--\r\n"


def read(body: bytes, *, step: int | None = None) -> bytes:
    part = OnePart(b"b", "image")
    pieces = [
        body[start : start + (step or len(body))]
        for start in range(0, len(body), step or len(body) or 1)
    ]
    content = b"".join(part.feed(piece) for piece in pieces)
    part.finish()
    return content


def refusal(body: bytes) -> WireError:
    with pytest.raises(WireError) as refused:
        read(body)
    return refused.value


@given(st.binary(max_size=200), st.integers(1, 50))
def test_the_part_is_the_same_in_pieces_of_any_size(content: bytes, step: int) -> None:
    if b"\r\n--b" not in content:
        assert read(form(content), step=step) == content


@given(st.binary(max_size=2000), st.text(max_size=40))
def test_what_a_client_library_writes_is_read(content: bytes, filename: str) -> None:
    request = httpx.Request("POST", "http://here/", files={"image": (filename, content)})
    part = OnePart(boundary_of(request.headers["content-type"]), "image")
    assert part.feed(request.read()) == content
    part.finish()


@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"--b", b"\r\n", b"--", HEADER]), max_size=9)
)
def test_whatever_comes_is_read_or_refused(pieces: list[bytes]) -> None:
    part, content = OnePart(b"b", "image"), b""
    with contextlib.suppress(WireError):
        content = b"".join(part.feed(piece) for piece in pieces)
        part.finish()
    assert content in b"".join(pieces)


@given(BOUNDARIES, st.booleans())
def test_a_boundary_may_stand_in_quotes(boundary: str, quoted: bool) -> None:
    plain = not quoted and not set(boundary) & set(" ,;")
    shown = boundary if plain else f'"{boundary}"'
    assert boundary_of(f"multipart/form-data; charset=utf-8; boundary={shown}") == boundary.encode()


@pytest.mark.parametrize(
    "given_", ["multipart/form-data", "multipart/form-data; boundary=", "x; boundary=" + "a" * 71]
)
def test_without_a_boundary_there_is_no_form(given_: str) -> None:
    with pytest.raises(WireError, match="boundary"):
        boundary_of(given_)


def test_what_follows_the_end_is_passed_over() -> None:
    assert read(form(b"x") + b"an epilogue") == b"x"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", "bad_field", "image"),
        (b"{}", "bad_field", "image"),
        (form(b"x")[:-6], "bad_field", "image"),
        (form(b"x")[:-12], "bad_field", "image"),
        (form(b"x", header=b"X: " + b"a" * 9000), "bad_field", "image"),
        (b"--b\r\n" + b"a" * 9000, "bad_field", "image"),
        (form(b"x", header=b"Content-Type: image/png"), "bad_field", "image"),
        (
            form(b"x", header=b"Content-Disposition: form-data; filename=image"),
            "bad_field",
            "image",
        ),
        (
            form(b"x", header=b'Content-Disposition: form-data; name="label"'),
            "unknown_field",
            "label",
        ),
        (form(b"x")[:-4] + b"\r\n" + form(b"y"), "bad_field", "image"),
        (form(b"x", boundary=b"c"), "bad_field", "image"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else None,
)
def test_what_is_no_form_of_one_image_is_refused(body: bytes, code: str, field: str) -> None:
    refused = refusal(body)
    assert (refused.code, refused.field) == (code, field)


def test_what_is_held_of_a_long_part_is_no_more_than_a_delimiter() -> None:
    part = OnePart(b"b", "image")
    part.feed(b"--b\r\n" + HEADER + b"\r\n\r\n")
    for _ in range(100):
        assert len(part.feed(b"\r\n-" * 1000)) > 2990
        assert len(part._held) < 5
