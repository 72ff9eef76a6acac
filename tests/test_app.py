import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from server.app import App, _engine_settings
from server.config import Settings
from server.loopback import Loopback, ToldError
from server.protocol import Data, Open, Opened
from tests.support.engines import GatedModel, picture, turns, until

SCOPE: dict[str, Any] = {"type": "http", "scheme": "http", "path": "/", "headers": []}


@asynccontextmanager
async def ready(model: GatedModel, **settings: float) -> AsyncIterator[tuple[App, Loopback]]:
    """An application in this process, and a client of it that has said hello."""
    app = App(Settings(model="fake", **settings), lambda: model)  # type: ignore[arg-type] # floats
    async with app.starlette.router.lifespan_context(app.starlette):
        await until(lambda: app.engine.ready)
        client = Loopback(app._serve, SCOPE)
        await client.greet(None)
        yield app, client
        model.encoding.open()
        model.decoding.open()


@pytest.mark.parametrize("reduced", [False, True])
def test_the_engine_reads_jpegs_as_the_operator_chose(*, reduced: bool) -> None:
    assert _engine_settings(Settings(reduced_jpeg=reduced)).reduced_jpeg == reduced


async def test_a_session_is_counted_once_it_has_said_hello() -> None:
    async with ready(GatedModel()) as (app, _client):
        silent = Loopback(app._serve, SCOPE)
        await until(lambda: len(app._registry) == 2)
        assert app.metrics.registry.get_sample_value("samwire_sessions_total") == 1
        silent.leave()


async def test_a_drain_answers_the_click_that_is_owed() -> None:
    model = GatedModel()
    async with ready(model) as (app, client):
        await (await client.send_image(picture()))
        model.decoding.shut()
        click = asyncio.create_task(client.click([(80.0, 60.0, 1)]))
        await model.decoding.reached()
        draining = asyncio.create_task(app.drain())
        await turns()
        assert not draining.done()
        model.decoding.open()

        assert (await click).id == 2
        await draining
        await client.gone.wait()


async def test_a_drain_lets_an_upload_go_on_and_its_image_be_opened() -> None:
    data = picture()
    async with ready(GatedModel()) as (app, client):
        answer = client._begin(1, Open(id=1, size=len(data)))
        client._send(Data(id=1, bytes=data[:100]))
        await until(lambda: app._uploads.used > 0)
        draining = asyncio.create_task(app.drain())
        await turns()
        assert not answer.done()
        client._send(Data(id=1, bytes=data[100:]))

        assert isinstance(await answer, Opened)
        await draining


async def test_a_drain_ends_at_its_deadline() -> None:
    async with ready(GatedModel(), drain_timeout_s=0.02) as (app, client):
        client._begin(1, Open(id=1, size=1000))
        await until(lambda: app._uploads.used > 0)
        await app.drain()

        with pytest.raises(ToldError) as ended:
            await client._outcome(1, Opened)
        assert ended.value.code == "restarting"


async def test_a_device_that_hangs_is_told_by_livez_and_holds_up_no_drain() -> None:
    model = GatedModel()
    async with ready(model, device_timeout_s=0.02, drain_timeout_s=60.0) as (app, client):
        await (await client.send_image(picture()))
        model.decoding.shut()
        stuck = asyncio.create_task(client.click([(80.0, 60.0, 1)]))
        await until(lambda: not app.engine.ready)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app.starlette), base_url="http://here"
        ) as http:
            assert (await http.get("/livez")).status_code == 503
        began_at = time.monotonic()
        await app.drain()

        assert time.monotonic() - began_at < 30.0
        with pytest.raises(ToldError, match="stopping"):
            await stuck


async def test_without_its_clock_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def shrink() -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("server.app._TICK_S", 0.0)
    async with ready(GatedModel()) as (app, _client):
        monkeypatch.setattr(app.engine.cache, "shrink", shrink)
        await app.failed.wait()
        assert isinstance(app.failure, RuntimeError)
