"""The HTTP contract, against the real application.

How sessions end is in `test_rest_sessions`, their limits are in `test_rest_limits`.
"""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server import guards
from server.bodies import BODY_WITHIN_S, PointRequest, read_point
from server.errors import ERRORS, WireError
from server.loopback import Loopback
from server.rest import ANSWER_WITHIN_S, STATUSES, _Session
from tests.support.pictures import jpeg, noise, scene
from tests.support.rest import MIDDLE, PHOTO, client, figure, opened, pixels, refused
from tests.support.running_server import RunningServer
from tests.support.wire import wire


async def test_an_image_a_point_and_an_end(fake: RunningServer) -> None:
    async with client(fake) as http:
        answer = await http.post("/v1/sessions", files={"image": ("photo.jpg", PHOTO)})
        told = answer.json()
        assert (told["image_width"], told["image_height"]) == (320, 240)
        assert set(told) == {"session_id", "image_width", "image_height"}
        assert answer.headers["cache-control"] == "no-store"
        session = f"/v1/sessions/{told['session_id']}"

        answer = await http.post(f"{session}/point", json={"point": [0.5, 0.5], "label": 1})
        mask, told = pixels(answer), answer.json()
        assert mask.shape == (240, 320)
        assert set(np.unique(mask)) == {0, 255}
        ys, xs = np.nonzero(mask)
        assert told["bbox"] == {
            "x": pytest.approx(xs.min() / 320),
            "y": pytest.approx(ys.min() / 240),
            "width": pytest.approx((xs.max() - xs.min() + 1) / 320),
            "height": pytest.approx((ys.max() - ys.min() + 1) / 240),
        }
        assert 0 <= told["confidence"] <= 1
        assert set(told) == {"bbox", "confidence", "mask"}

        answer = await http.delete(session)
        assert (answer.status_code, answer.json()) == (200, {"status": "closed"})
        refused(await http.delete(session), 404, "not_open")
        refused(await http.post(f"{session}/point", json=MIDDLE), 404, "not_open")


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", "IMAGE/PNG; a=b"])
async def test_the_image_may_be_the_body(fake: RunningServer, kind: str) -> None:
    async with client(fake) as http:
        answer = await http.post("/v1/sessions", content=PHOTO, headers={"content-type": kind})
        assert answer.json()["image_width"] == 320


async def test_points_add_up_until_they_are_reset(fake: RunningServer) -> None:
    a, b = [0.25, 0.25], [0.75, 0.75]
    async with client(fake) as http, wire(fake.url) as other:
        await other.open(PHOTO)
        session = await opened(http)
        for ask, points in [
            ({"point": a}, [(80, 60, 1)]),
            ({"point": b, "label": 0}, [(80, 60, 1), (240, 180, 0)]),
            ({"point": b, "reset": True}, [(240, 180, 1)]),
            ({"point": a}, [(240, 180, 1), (80, 60, 1)]),
        ]:
            same = await other.click(*points)
            answer = await http.post(f"{session}/point", json=ask)
            assert np.count_nonzero(pixels(answer)) == same.area
            assert answer.json()["confidence"] == same.score


async def test_a_point_that_gets_no_mask_is_forgotten(fake: RunningServer) -> None:
    async with client(fake) as http:
        session = await opened(http)
        exclude = {"point": [0.1, 0.1], "label": 0}
        refused(
            await http.post(f"{session}/point", json=exclude), 422, "no_positive_prompt", "point"
        )
        alone = await http.post(f"{session}/point", json=MIDDLE)
        again = await http.post(f"{session}/point", json={**MIDDLE, "reset": True})
        assert alone.json() == again.json()


async def test_a_session_takes_as_many_points_as_a_prompt_may_have(fake: RunningServer) -> None:
    async with client(fake) as http:
        session = await opened(http)
        for _ in range(64):
            assert (await http.post(f"{session}/point", json=MIDDLE)).status_code == 200
        refused(await http.post(f"{session}/point", json=MIDDLE), 400, "bad_field", "point")
        anew = await http.post(f"{session}/point", json={**MIDDLE, "reset": True})
        assert anew.status_code == 200


async def test_points_asked_for_at_once_are_answered_one_after_another(fake: RunningServer) -> None:
    async with client(fake) as http:
        session = await opened(http)
        asks = [http.post(f"{session}/point", json={"point": [i / 4, 0.5]}) for i in range(5)]
        answers = await asyncio.gather(*asks)
        assert [answer.status_code for answer in answers] == [200] * 5


async def test_few_may_wait_for_the_one_before() -> None:
    session, done = _Session(cast("Loopback", None), None, 1, 1), asyncio.Event()

    async def request() -> None:
        async with session.turn():
            await done.wait()

    asking = [asyncio.create_task(request()) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(WireError) as refusal:
        await request()
    assert (refusal.value.code, refusal.value.retry_after) == ("busy", 1.0)
    asking[4].cancel()
    done.set()
    await asyncio.gather(*asking, return_exceptions=True)
    await request()


async def test_corners_are_inside_and_an_image_known_already_is_not_encoded_again(
    fake: RunningServer,
) -> None:
    image = jpeg(noise(64, 48))
    async with client(fake) as http:
        before = await figure(http, "cache_misses_total")
        for corner in ([0, 0], [1, 1], [0, 1.0]):
            session = await opened(http, image)
            answer = await http.post(f"{session}/point", json={"point": corner})
            assert pixels(answer).shape == (48, 64)
        assert await figure(http, "cache_misses_total") == before + 1


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", "bad_field", None),
        (b"[]", "bad_field", None),
        (b"{" * 60_000, "bad_field", None),
        (b"[" * 60_000, "bad_field", None),
        (b"\xff", "bad_field", None),
        (b" " * 70_000, "bad_field", None),
        (b"{}", "bad_field", "point"),
        (b'{"point": 1}', "bad_field", "point"),
        (b'{"point": [0.5]}', "bad_field", "point.1"),
        (b'{"point": [0.5, 0.5, 1]}', "bad_field", "point"),
        (b'{"point": [0.5, 1.01]}', "bad_field", "point.1"),
        (b'{"point": [-0.1, 0.5]}', "bad_field", "point.0"),
        (b'{"point": [NaN, 0.5]}', "bad_field", "point.0"),
        (b'{"point": [0.5, Infinity]}', "bad_field", "point.1"),
        (b'{"point": [1e999, 0.5]}', "bad_field", "point.0"),
        (b'{"point": [true, 0.5]}', "bad_field", "point.0"),
        (b'{"point": ["0.5", 0.5]}', "bad_field", "point.0"),
        (b'{"point": [0.5, null]}', "bad_field", "point.1"),
        (b'{"point": [0.5, 0.5], "label": 2}', "bad_field", "label"),
        (b'{"point": [0.5, 0.5], "label": true}', "bad_field", "label"),
        (b'{"point": [0.5, 0.5], "label": "1"}', "bad_field", "label"),
        (b'{"point": [0.5, 0.5], "reset": 1}', "bad_field", "reset"),
        (b'{"point": [0.5, 0.5], "box": []}', "unknown_field", "box"),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else None,
)
async def test_what_is_no_point_is_refused_by_the_name_of_its_field(
    fake: RunningServer, body: bytes, code: str, field: str | None
) -> None:
    async with client(fake) as http:
        session = await opened(http)
        answer = await http.post(f"{session}/point", content=body)
        assert refused(answer, 400, code, field)
        assert (await http.post(f"{session}/point", json=MIDDLE)).status_code == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)
FIELDS = st.fixed_dictionaries(
    {"point": JSON | st.lists(st.floats(-1, 2), min_size=2, max_size=2)},
    optional={"label": JSON, "reset": JSON},
)


@given(st.binary(max_size=300) | (JSON | FIELDS).map(lambda value: json.dumps(value).encode()))
@example(b'{"point": [' + b"1" * 5000 + b", 0]}")
@example(b'{"point": [0, 0], "label": ' + b"1" * 400 + b"}")
def test_whatever_is_asked_is_a_point_of_the_image_or_refused(body: bytes) -> None:
    ask: PointRequest | WireError
    try:
        ask = read_point(body)
    except WireError as error:
        ask = error
    if isinstance(ask, WireError):
        assert ask.code in {"bad_field", "unknown_field"}
        assert len(ask.message) < 200
    else:
        assert all(0.0 <= share <= 1.0 for share in ask.point)
        assert ask.label in {0, 1}
        assert isinstance(ask.reset, bool)


@pytest.mark.parametrize(
    ("form", "code", "field"),
    [
        ({"files": [("image", PHOTO), ("image", PHOTO)]}, "bad_field", "image"),
        ({"files": {"photo": PHOTO}}, "unknown_field", "photo"),
        ({"files": {"image": b""}}, "bad_field", "image"),
        ({"json": {"image_url": "http://169.254.169.254/"}}, "bad_field", "image"),
        ({"data": {"image": "text"}}, "bad_field", "image"),
        ({}, "bad_field", "image"),
        ({"content": b"", "headers": {"content-type": "image/png"}}, "bad_field", "image"),
    ],
)
async def test_what_is_no_image_is_refused_and_takes_no_place(
    fake: RunningServer, form: dict[str, Any], code: str, field: str
) -> None:
    async with client(fake) as http:
        before = await figure(http, "sessions_active")
        message = refused(await http.post("/v1/sessions", **form), 400, code, field)
        assert "image_url" in message or "json" not in form
        async with asyncio.timeout(10):
            while await figure(http, "sessions_active") > before:
                pass


async def test_what_cannot_be_read_as_an_image_is_said_to_be_none(fake: RunningServer) -> None:
    async with client(fake) as http:
        refused(await http.post("/v1/sessions", files={"image": b"text"}), 422, "bad_image")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/v1/sessions", "POST"), ("/v1/sessions/a", "DELETE"), ("/v1/sessions/a/point", "POST")],
)
async def test_of_an_address_the_methods_it_has_are_told(
    fake: RunningServer, path: str, allowed: str
) -> None:
    async with client(fake) as http:
        for method in {"GET", "POST", "PUT", "DELETE", "OPTIONS", "ODD"} - {allowed}:
            answer = await http.request(method, path)
            assert allowed in refused(answer, 405, "unknown_type")
            assert answer.headers["allow"] == allowed
        answer = await http.head(path)
        assert (answer.status_code, answer.headers["allow"], answer.text) == (405, allowed, "")


@pytest.mark.parametrize(
    "path",
    ["/", "/ws", "/sessions/", "/sessions/a/", "/sessions/a/b", "/sessions//point", "/%ff"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_where_there_is_nothing_it_is_said(
    fake: RunningServer, method: str, path: str
) -> None:
    async with client(fake) as http:
        answer = await http.request(method, f"/v1{path}")
        assert "/v1/ws is a WebSocket" in refused(answer, 404, "unknown_type")


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
async def test_a_foreign_page_may_not(fake: RunningServer, origin: str) -> None:
    async with client(fake) as http, client(fake, Origin=origin) as page:
        session = await opened(http)
        refused(await page.post("/v1/sessions", files={"image": PHOTO}), 403, "forbidden_origin")
        refused(await page.post(f"{session}/point", json=MIDDLE), 403, "forbidden_origin")
        refused(await page.delete(session), 403, "forbidden_origin")
        assert (await http.delete(session)).status_code == 200


async def test_the_servers_own_page_may(fake: RunningServer) -> None:
    async with client(fake, Origin=fake.http) as page:
        session = await opened(page)
        assert (await page.delete(session)).status_code == 200


def test_an_answer_comes_before_the_connection_is_cut_off() -> None:
    assert BODY_WITHIN_S < ANSWER_WITHIN_S < guards.ANSWER_WITHIN_S


@pytest.mark.parametrize("code", STATUSES)
def test_a_status_belongs_to_an_error_and_fits_its_fault(code: str) -> None:
    assert (STATUSES[code] >= 500) == (ERRORS[code].fault != "client") or STATUSES[code] == 429


def test_the_protocols_page_has_the_status_of_each_error_and_no_other() -> None:
    page = (Path(__file__).parents[1] / "docs/protocol.md").read_text()
    section = page.split("### Errors of REST")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", section, re.MULTILINE)
    named = {
        code: int(status) for status, text in rows for code in re.findall(r"`([a-z_]+)`", text)
    }
    shown = {code: status for code, status in named.items() if code in ERRORS}
    assert shown == {**STATUSES, "bad_field": 400, "unknown_field": 400}


@pytest.mark.e2e
async def test_the_bundled_model_finds_what_is_clicked(tiny: RunningServer) -> None:
    image, (truth, *_) = scene(320, 240)
    ys, xs = np.nonzero(truth)
    point = [(float(np.median(xs)) + 0.5) / 320, (float(np.median(ys)) + 0.5) / 240]
    async with client(tiny) as http:
        session = await opened(http, jpeg(image))
        answer = await http.post(f"{session}/point", json={"point": point})
        mask = pixels(answer) > 0
        assert (mask & truth).sum() / (mask | truth).sum() > 0.7
