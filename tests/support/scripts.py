"""Scripts for the scripted server, and what tests of clients do around them."""

import asyncio
from collections.abc import Callable
from typing import Any

from client_demo.client import Client
from server.protocol import Error, Segment
from tests.support.scripted_server import Peer, Script

__all__ = ["abort", "answers", "check", "drop", "hangs_up", "opens", "refuses", "then", "until"]


async def opens(peer: Peer) -> None:
    await peer.opens()


async def answers(peer: Peer) -> None:
    await peer.answers()


async def abort(peer: Peer) -> None:
    """Vanish without a close frame."""
    peer.socket.transport.abort()


def then(*steps: Script) -> Script:
    """Open the image, then these steps."""

    async def script(peer: Peer) -> None:
        await peer.opens()
        for step in steps:
            await step(peer)

    return script


def hangs_up(code: int, reason: str = "") -> Script:
    return lambda peer: peer.hangs_up(code, reason)


def refuses(**error: Any) -> Script:
    async def script(peer: Peer) -> None:
        asked = await peer.hears(Segment)
        await peer.says(Error(id=asked.id, message="no", fault="client", **error))

    return script


def check(heard: list[Segment]) -> Script:
    """Answer, and keep what was asked."""

    async def script(peer: Peer) -> None:
        heard.append(await peer.answers())

    return script


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event to tell of it
            await asyncio.sleep(0)


async def drop(sam: Client) -> None:
    """Break the connection, as a network would."""
    assert sam._link._socket is not None
    sam._link._socket.transport.abort()
    await until(lambda: sam._link._socket is None)
