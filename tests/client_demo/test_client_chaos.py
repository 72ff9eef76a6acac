"""The client on a network that breaks at any byte: nothing hangs, all comes right in the end."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import pytest

from client_demo.client import Client, ConnectionLost, SamwireError, connect
from tests.support.cutting_proxy import cutting_proxy
from tests.support.pictures import noise, png
from tests.support.running_server import RunningServer
from tests.support.scripts import until

T = TypeVar("T")

PHOTO = png(noise(300, 240, seed=3))
OTHER = png(noise(200, 260, seed=4))
POINTS = [(150.0, 120.0, 1), (60.0, 60.0, 0)]
GREETING = 2000  # bytes that always pass: who was never greeted has nothing to come back to


async def persist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again for as long as connections break."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await ask()
            except ConnectionLost:
                continue


async def work(sam: Client) -> None:
    """What an annotator does on two images."""
    for photo in (OTHER, PHOTO):
        await persist(partial(sam.open, photo))
        await persist(lambda: sam.segment(points=POINTS[:1]))
        await persist(lambda: sam.hover(points=POINTS))
        await persist(lambda: sam.segment(points=POINTS, candidates=True))
        await persist(lambda: sam.segment(box=(10, 10, 150, 150), object=1))


@pytest.mark.parametrize("seed", range(8))
async def test_a_network_that_breaks_anywhere_only_costs_time(
    fake: RunningServer, seed: int
) -> None:
    rng = random.Random(seed)
    cuts = [GREETING + int(rng.expovariate(1 / 100_000)) for _ in range(12)]

    async with cutting_proxy(fake.url, cuts) as url, connect(url) as sam:
        await work(sam)
        await sam.release(0)
        mask = await persist(lambda: sam.segment(points=POINTS, prior=None))
    async with connect(fake.url) as undisturbed:
        await undisturbed.open(PHOTO)
        expected = await undisturbed.segment(points=POINTS, prior=None)

    assert mask.rle == expected.rle


async def test_a_network_that_breaks_at_every_turn_is_not_given_up(fake: RunningServer) -> None:
    cuts = [GREETING, *range(50, 2050, 100)]

    async with cutting_proxy(fake.url, cuts) as url, connect(url) as sam:
        await persist(lambda: sam.open(OTHER))
        assert (await persist(lambda: sam.segment(points=POINTS[:1]))).area > 0


async def test_a_server_that_goes_away_for_good_does_not_hang_who_waits(
    fake: RunningServer,
) -> None:
    async with cutting_proxy(fake.url, []) as url:
        client = connect(url)
        sam = await client.__aenter__()
        await sam.open(OTHER)
    await until(lambda: sam._link._socket is None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await sam.segment(points=POINTS[:1])

    await client.__aexit__(None, None, None)

    with pytest.raises(SamwireError):
        await sam.segment(points=POINTS[:1])
