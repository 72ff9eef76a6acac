"""The HTTP contract, against the real application; its limits are in `test_rest_limits`."""

import asyncio
import gc
import json
import re
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Message

from server import guards
from server.app import App
from server.bodies import BODY_WITHIN_S, PointRequest, read_point
from server.config import Settings
from server.engine.fake import FakeModel
from server.errors import ERRORS, WireError
from server.loopback import Loopback
from server.rest import ANSWER_WITHIN_S, STATUSES, _Session
from tests.support.engines import until
from tests.support.pictures import jpeg, noise, png, scene
from tests.support.rest import MIDDLE, PHOTO, client, figure, opened, pixels, refused
from tests.support.running_server import RunningServer, running_server
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


@asynccontextmanager
async def within(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """The application in this process, where a test can reach into it."""
    transport = httpx.ASGITransport(app.starlette)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http


async def test_a_server_that_is_not_ready_says_so() -> None:
    async with within(App(Settings(model="fake"), FakeModel)) as http:
        refused(await http.post("/v1/sessions", files={"image": PHOTO}), 503, "full")


async def test_a_server_that_stops_begins_nothing_and_ends_what_there_is() -> None:
    app = App(Settings(model="fake"), FakeModel)
    async with app.starlette.router.lifespan_context(app.starlette), within(app) as http:
        await until(lambda: app.engine.ready)
        session = await opened(http)
        app.draining = True
        for connection in app._connections.values():
            connection.announce_drain(5.0)
        refused(await http.post(f"{session}/point", json=MIDDLE), 503, "restarting")
        refused(await http.post("/v1/sessions", files={"image": PHOTO}), 503, "restarting")
        app._hang_up_all("the server is stopping")
        await until(lambda: not app._connections)
        assert (await http.post(f"{session}/point", json=MIDDLE)).status_code in {404, 503}


async def test_who_waits_when_the_session_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(Settings(model="fake"), FakeModel)
    async with app.starlette.router.lifespan_context(app.starlette), within(app) as http:
        await until(lambda: app.engine.ready)
        session = await opened(http)
        (connection,) = app._connections.values()
        monkeypatch.setattr(connection, "_submit", lambda _ask: None)
        asked = asyncio.create_task(http.post(f"{session}/point", json=MIDDLE))
        await until(lambda: connection.session.at_work)
        assert (await http.delete(session)).json() == {"status": "closed"}
        refused(await asked, 404, "not_open")


async def test_who_gets_no_answer_in_time_is_told_and_may_ask_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = App(Settings(model="fake"), FakeModel)
    async with app.starlette.router.lifespan_context(app.starlette), within(app) as http:
        await until(lambda: app.engine.ready)
        session = await opened(http)
        (connection,) = app._connections.values()
        with monkeypatch.context() as patched:
            patched.setattr(connection, "_submit", lambda _ask: None)
            patched.setattr("server.rest.ANSWER_WITHIN_S", 0.05)
            refused(await http.post(f"{session}/point", json=MIDDLE), 504, "timeout")
        assert (
            app.metrics.registry.get_sample_value("samwire_refusals_total", {"code": "timeout"})
            == 1
        )


async def upload(app: App, body: AsyncIterator[bytes], *, stays: bool = True) -> bytes:
    """What is answered to a body of these pieces; who does not stay has left behind it."""
    said: list[bytes] = []

    async def receive() -> Message:
        piece = await anext(body, None)
        if piece is not None:
            return {"type": "http.request", "body": piece, "more_body": True}
        if not whole.is_set():
            whole.set()
            return {"type": "http.request", "body": b""}
        if stays:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        said.append(message.get("body", b""))

    whole = asyncio.Event()
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/sessions",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"image/jpeg")],
    }
    await app.starlette(scope, receive, send)
    return b"".join(said)


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


async def test_who_leaves_while_the_image_is_opened_leaves_nothing_behind() -> None:
    app = App(Settings(model="fake"), FakeModel)
    async with app.starlette.router.lifespan_context(app.starlette):
        await until(lambda: app.engine.ready)
        said = await upload(app, pieces(PHOTO), stays=False)
        await until(lambda: not app._connections)
        assert (app._uploads.used, app.engine.cache.nbytes) == (0, 0)
    assert b"session_id" not in said


def broken(image: bytes) -> bytes:
    """Its header is whole, and its pixels cannot be read."""
    middle = len(image) // 2
    return image[:middle] + bytes(100) + image[middle + 100 :]


@pytest.mark.parametrize(
    "image", [b"no image" * 400_000, broken(png(noise(1000, 1000)))], ids=["none", "broken"]
)
async def test_nothing_is_kept_of_an_image_that_is_refused(image: bytes) -> None:
    app = App(Settings(model="fake"), FakeModel)
    async with app.starlette.router.lifespan_context(app.starlette):
        await until(lambda: app.engine.ready)
        gc.collect()
        gc.disable()  # which comes when it comes, and until then a flood would fill the memory
        tracemalloc.start()
        try:
            assert b"bad_image" in await upload(app, pieces(image))
            await until(lambda: not app._connections)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
    assert kept < 500_000 < len(image)


async def test_an_upload_may_take_longer_than_a_session_may_be_idle() -> None:
    app = App(
        Settings(model="fake", idle_timeout_s=0.2, spare_after_s=0.2, max_sessions=1), FakeModel
    )

    async def in_its_own_time() -> AsyncIterator[bytes]:
        yield PHOTO[:1000]
        begun_at = time.monotonic()
        while time.monotonic() < begun_at + 0.5:
            await asyncio.to_thread(lambda: None)
            for connection in app._connections.values():
                connection.tick()
        yield PHOTO[1000:]

    async with app.starlette.router.lifespan_context(app.starlette):
        await until(lambda: app.engine.ready)
        said = await upload(app, in_its_own_time())
        assert b"session_id" in said


async def test_an_upload_ends_with_its_session() -> None:
    app = App(Settings(model="fake"), FakeModel)

    async def never_whole() -> AsyncIterator[bytes]:
        yield PHOTO[:1000]
        app._hang_up_all("the server is stopping")
        await asyncio.Event().wait()

    async with app.starlette.router.lifespan_context(app.starlette):
        await until(lambda: app.engine.ready)
        said = await upload(app, never_whole())
        assert b"restarting" in said
        assert app._uploads.used == 0


async def test_a_fault_of_ours_is_told_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_mask: object) -> str:
        raise KeyError("a secret")

    app = App(Settings(model="fake"), FakeModel)
    monkeypatch.setattr("server.rest._png", fail)
    async with app.starlette.router.lifespan_context(app.starlette), within(app) as http:
        await until(lambda: app.engine.ready)
        session = await opened(http)
        answer = await http.post(f"{session}/point", json=MIDDLE)
        assert "secret" not in refused(answer, 500, "internal")


async def test_sessions_count_for_the_address_that_made_them() -> None:
    with running_server(max_sessions_per_address=1) as server:
        async with client(server) as http:
            session = await opened(http)
            refused(await http.post("/v1/sessions", files={"image": PHOTO}), 503, "full")
            assert (await http.delete(session)).status_code == 200
            assert (await http.delete(await opened(http))).status_code == 200


async def test_a_session_that_can_be_spared_makes_room_for_another() -> None:
    with running_server(max_sessions=1, spare_after_s=0.001) as server:
        async with client(server) as http:
            first, second = await opened(http), await opened(http)
            refused(await http.post(f"{first}/point", json=MIDDLE), 404, "not_open")
            assert (await http.post(f"{second}/point", json=MIDDLE)).status_code == 200


async def test_a_server_with_sessions_open_stops_in_good_order() -> None:
    with running_server("fake") as server:
        async with client(server) as http:
            await opened(http)
            await opened(http)
        assert await asyncio.to_thread(server.stop) == 0
        log = "".join(server.log)
        while (line := server.lines.get()) is not None:
            log += line
    assert "code=restarting" in log
    assert "Traceback" not in log
    assert "never" not in log


async def test_many_at_once_are_served_and_leave_nothing_behind(fake: RunningServer) -> None:
    async def annotate(http: httpx.AsyncClient, seed: int) -> None:
        session = await opened(http, jpeg(noise(80 + seed, 60, seed)))
        for _ in range(3):
            assert pixels(await http.post(f"{session}/point", json=MIDDLE)).shape == (60, 80 + seed)
        assert (await http.delete(session)).status_code == 200

    async with client(fake) as http:
        before = await figure(http, "sessions_active")
        await asyncio.gather(*(annotate(http, seed) for seed in range(40)))
        assert await figure(http, "sessions_active") <= before
        assert await figure(http, "uploads_bytes") == 0


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
