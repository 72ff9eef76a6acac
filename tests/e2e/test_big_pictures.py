"""A picture as large as may be: it takes its time, and nobody else's."""

import asyncio

import httpx
import numpy as np

from server.protocol import Opened
from tests.support.pictures import jpeg
from tests.support.running_server import RunningServer
from tests.support.wire import wire


async def answers_during(http: httpx.AsyncClient, work: "asyncio.Task[object]") -> int:
    """How often the server says that it is alive until `work` is done."""
    answers = 0
    while not work.done():
        assert (await http.get("/livez")).status_code == 200
        answers += not work.done()
    return answers


async def test_the_loop_goes_on_while_40_megapixels_are_opened(
    tiny: RunningServer,
) -> None:
    picture = np.zeros((5000, 8000, 3), np.uint8)
    picture[1000:4000, 2000:6000] = 200
    data = jpeg(picture)
    async with wire(tiny.url) as client, httpx.AsyncClient(base_url=tiny.http) as http:
        await http.get("/livez")
        await client.upload(data)
        opening = asyncio.create_task(client.expect(Opened))
        # Were the pixels read on the loop, it would be one answer, or two.
        assert await answers_during(http, opening) > 10
        assert (await opening).width == 8000
