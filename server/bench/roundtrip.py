"""A click and an open through a real socket: the real server in a process of its own, one client.

Timed from the moment a frame is handed to the socket until the reply's frame is there; packing and
unpacking on the client's side are left out.
"""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from typing import IO, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect

from server.bench.figures import Figure, Laps, Samples
from server.bench.pictures import KINDS, Picture, Round
from server.protocol import (
    MAX_DATA_BYTES,
    SUBPROTOCOL,
    ClientMessage,
    Data,
    Hello,
    MaskReply,
    Open,
    Opened,
    Progress,
    Release,
    ServerMessage,
    Welcome,
    pack,
    unpack_server,
)

__all__ = ["OpenTrips", "Trips", "measure_trips", "running_server"]

Tick = Callable[[], None]
_M = TypeVar("_M", bound=ServerMessage)

_START_TIMEOUT_S = 600.0  # a large model on a small machine loads and warms up for minutes
_UNLIMITED = "1000000000"
_NO_LIMITS = {
    "SAMWIRE_HOST": "127.0.0.1",
    "SAMWIRE_TOKENS": "",
    "SAMWIRE_SEGMENTS_PER_S": _UNLIMITED,
    "SAMWIRE_SEGMENT_BURST": _UNLIMITED,
    "SAMWIRE_MESSAGES_PER_S": _UNLIMITED,
}
_PLAIN = {"TERM": "dumb"}  # no colours in the address that is read
_ADDRESS = re.compile(r"http://\S+:(\d+)\s")


class ServerFailedError(Exception):
    """The server did not start, or did not do what was asked."""


@contextlib.contextmanager
def running_server(arguments: Mapping[str, object]) -> Iterator[str]:
    """`samwire serve` with these options, until the block ends; yields host:port when ready."""
    options = [f"--{name}={value}" for name, value in arguments.items() if value is not None]
    command = [sys.executable, "-m", "server", "serve", "--port=0", *options]
    with tempfile.TemporaryFile() as log:
        # The environment goes on to the server, which reads its other settings there.
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdout=log, stderr=log, env={**os.environ, **_NO_LIMITS, **_PLAIN}
        )
        try:
            port = _when_ready(process, log)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            process.kill()
            process.wait()


def _when_ready(process: subprocess.Popen[bytes], log: IO[bytes]) -> int:
    """The port it found free, once it serves there."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = _ADDRESS.search(_written(log))
        if found and _is_ready(found[1]):
            return int(found[1])
        time.sleep(0.1)
    raise ServerFailedError("the server did not start:\n" + _written(log))


def _written(log: IO[bytes]) -> str:
    # Not by read(): the server writes at the position that would move.
    return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0).decode(errors="replace")


def _is_ready(port: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    return False


@dataclass(frozen=True, slots=True)
class Trips:
    """Clicks of one kind, in milliseconds."""

    trip_ms: Figure
    told_ms: dict[str, Figure]
    """What the server says of its own: queue, decode, post."""
    wire_bytes: Figure
    """Of the replies' frames."""


@dataclass(frozen=True, slots=True)
class OpenTrips:
    """Opens, in milliseconds."""

    upload_ms: Figure
    """With all the bytes, encoded anew."""
    reopen_ms: Figure
    """By sha256, from the cache."""


def measure_trips(
    address: str, picture: Picture, *, warm_up: int, count: int, opens: int, tick: Tick
) -> tuple[dict[str, Trips], OpenTrips]:
    """Round trips by kind of click, and of opens."""

    async def measure() -> tuple[dict[str, Trips], OpenTrips]:
        async with connect(
            f"ws://{address}/v1/ws",
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item] # a NewType of str
            compression=None,
            max_size=None,
        ) as socket_:
            client = _Client(socket_)
            await client.ask(Hello(), kind=Welcome)
            opened = await _time_opens(client, picture, opens, tick)
            return await _time_clicks(client, picture, warm_up, count, tick), opened

    return asyncio.run(measure())


class _Client:
    """Sends frames and waits for their answers; nothing else is under way meanwhile."""

    def __init__(self, socket_: ClientConnection) -> None:
        self._socket = socket_
        self._last_id = 0

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def tell(self, message: ClientMessage) -> None:
        await self._socket.send(pack(message))

    async def ask(self, *messages: ClientMessage, kind: type[_M]) -> tuple[_M, float, int]:
        """The reply, milliseconds until its frame came, and the frame's bytes."""
        frames = [pack(message) for message in messages]
        laps = Laps()
        for frame in frames:
            await self._socket.send(frame)
        while True:
            answer = await self._socket.recv(decode=False)
            laps.end("trip")
            reply = unpack_server(answer)
            if isinstance(reply, kind):
                return reply, laps.ms["trip"], len(answer)
            if not isinstance(reply, Progress):
                raise ServerFailedError(f"expected a {kind.__name__}, got {reply!r}")


async def _time_opens(client: _Client, picture: Picture, count: int, tick: Tick) -> OpenTrips:
    samples = Samples()
    for number in range(1 + count):
        # What follows a JPEG's end is not its business, but makes other bytes of it.
        data = picture.data + time.time_ns().to_bytes(8)
        opened, upload_ms, _ = await client.ask(*_upload(client.next_id(), data), kind=Opened)
        again = Open(id=client.next_id(), size=len(data), sha256=opened.sha256)
        reopened, reopen_ms, _ = await client.ask(again, kind=Opened)
        if opened.cached or not reopened.cached:
            raise ServerFailedError("an open was cached when new, or not when opened again")
        if number:
            samples.add({"upload": upload_ms, "reopen": reopen_ms})
        tick()
    figures = samples.figures()
    return OpenTrips(upload_ms=figures["upload"], reopen_ms=figures["reopen"])


def _upload(open_id: int, data: bytes) -> list[ClientMessage]:
    starts = range(0, len(data), MAX_DATA_BYTES)
    chunks = [Data(id=open_id, bytes=data[start : start + MAX_DATA_BYTES]) for start in starts]
    return [Open(id=open_id, size=len(data)), *chunks]


async def _time_clicks(
    client: _Client, picture: Picture, warm_up: int, count: int, tick: Tick
) -> dict[str, Trips]:
    samples = {kind: Samples() for kind in KINDS}
    for number, prompts in enumerate(islice(cycle(picture.rounds()), warm_up + count)):
        for kind in KINDS:
            measured = await _click(client, prompts, kind)
            if number >= warm_up:
                samples[kind].add(measured)
        for object_number in range(3):
            await client.tell(Release(object=object_number))
        tick()
    return {kind: _trips(samples[kind].figures()) for kind in KINDS}


async def _click(client: _Client, prompts: Round, kind: str) -> dict[str, float]:
    segment = prompts.segment(kind, client.next_id())
    reply, trip_ms, wire_bytes = await client.ask(segment, kind=MaskReply)
    told = reply.timings
    return {
        "trip": trip_ms,
        "queue": told.queue_ms,
        "decode": told.decode_ms,
        "post": told.post_ms,
        "bytes": wire_bytes,
    }


def _trips(figures: dict[str, Figure]) -> Trips:
    told = {name: figures[name] for name in ("queue", "decode", "post")}
    return Trips(trip_ms=figures["trip"], told_ms=told, wire_bytes=figures["bytes"])
