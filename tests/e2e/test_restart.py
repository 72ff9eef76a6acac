"""A server that is killed and comes back: its clients do, too, with all that they had."""

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest

from client_demo import link
from client_demo.client import Client, ConnectionLost, Mask, connect
from tests.support.figures import figure
from tests.support.pictures import jpeg, noise
from tests.support.running_server import running_server

PHOTOS = [jpeg(noise(160, 120, seed)) for seed in range(20)]


async def click(sam: Client) -> Mask:
    """Ask again for as long as the connection is lost."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await sam.segment(points=[(80.0, 60.0)], prior=None)
            except ConnectionLost:
                continue


async def test_after_a_kill_every_client_opens_its_image_again_and_clicks_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # How long a crowd waits is test_reconnect's; here it would only take time.
    monkeypatch.setattr(link, "backoff_s", lambda *_: 0.1)
    async with AsyncExitStack() as stack:
        first = stack.enter_context(running_server())
        sams = [await stack.enter_async_context(connect(first.url)) for _ in PHOTOS]
        for sam, photo in zip(sams, PHOTOS, strict=True):
            await sam.open(photo)
        before = await asyncio.gather(*map(click, sams))

        await asyncio.to_thread(first.stop, signal.SIGKILL)
        asked = [asyncio.create_task(click(sam)) for sam in sams]
        second = await asyncio.to_thread(stack.enter_context, running_server(port=first.port))
        after = await asyncio.gather(*asked)

        assert await figure(second, "samwire_sessions_active") == len(sams)
        assert await figure(second, "samwire_cache_entries") == len(sams)
    assert [mask.rle for mask in after] == [mask.rle for mask in before]
