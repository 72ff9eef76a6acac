"""A picture as large as may be: it takes its time, and nobody else's."""

import asyncio
import time

import httpx
import numpy as np

from server.protocol import Opened
from tests.support.pictures import jpeg
from tests.support.running_server import RunningServer
from tests.support.wire import wire


async def longest_answer_during(http: httpx.AsyncClient, work: "asyncio.Task[Opened]") -> float:
    """Milliseconds that the server took at most to say that it is alive, until `work` is done."""
    longest = 0.0
    while not work.done():
        asked_at = time.monotonic()
        assert (await http.get("/livez")).status_code == 200
        longest = max(longest, time.monotonic() - asked_at)
    return longest * 1e3


async def test_the_loop_goes_on_while_40_megapixels_are_opened(tiny: RunningServer) -> None:
    picture = np.zeros((5000, 8000, 3), np.uint8)
    picture[1000:4000, 2000:6000] = 200
    data = jpeg(picture)
    async with wire(tiny.url) as client, httpx.AsyncClient(base_url=tiny.http) as http:
        await http.get("/livez")
        await client.upload(data)
        opening = asyncio.create_task(client.expect(Opened))
        longest = await longest_answer_during(http, opening)
        took = (await opening).timings
    # Half a second each; were they done on the loop, one answer would take all of it.
    assert longest < 0.75 * took.decode_ms
    assert longest < 0.75 * took.encode_ms
