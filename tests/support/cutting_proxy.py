"""A network that breaks: passes bytes on, and cuts a connection after so many of them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

__all__ = ["cutting_proxy"]


@asynccontextmanager
async def cutting_proxy(url: str, cuts: Iterable[int]) -> AsyncIterator[str]:
    """The same server, through a proxy.

    Args:
        url: of the server.
        cuts: for each connection, how many bytes pass (both ways) before it is cut without a word;
            further connections are left alone.
    """
    target = urlsplit(url)
    left = iter(cuts)
    alive: dict[asyncio.StreamWriter, asyncio.Future[None]] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        alive[writer] = asyncio.get_running_loop().create_future()
        their_reader, their_writer = await asyncio.open_connection(target.hostname, target.port)
        budget = [next(left, -1)]
        ways = [
            asyncio.create_task(_pump(reader, their_writer, budget)),
            asyncio.create_task(_pump(their_reader, writer, budget)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            writer.transport.abort()
            their_writer.transport.abort()
            alive.pop(writer).set_result(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}{target.path}"
    finally:
        server.close()
        ends = list(alive.values())
        for writer in alive:
            writer.transport.abort()
        await asyncio.gather(*ends)


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, budget: list[int]
) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 14):
            if budget[0] >= 0:
                data = data[: budget[0]]
                budget[0] -= len(data)
            writer.write(data)
            await writer.drain()
            if budget[0] == 0:
                return
