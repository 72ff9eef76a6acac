"""How sessions by HTTP begin and end, whoever ends them, and what they leave: nothing."""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.types import Message

from server.app import App
from server.config import Settings
from server.engine.fake import FakeModel
from tests.support.engines import until
from tests.support.pictures import jpeg, noise, png
from tests.support.rest import MIDDLE, PHOTO, client, figure, opened, pixels, refused
from tests.support.running_server import RunningServer, running_server


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
