"""The same model behind one lock: what `client_demo.load_test --peer lock` compares with.

It speaks the protocol as far as a load test needs it, and serves as single-model servers do: first
come, first served, one request at a time, an encode in one piece, nothing superseded, nothing
batched. One thread does all the work, so its queue is the lock. For comparison only: it has no
limits but the image's pixels, no admission, no origin check; so it listens on 127.0.0.1, whatever
is set. Other settings are the server's own (`SAMWIRE_MODEL`, ...): `python -m server.bench.lock`.
"""

import asyncio
import contextlib
import hashlib
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.config import Settings
from server.engine import images, masks
from server.engine.models.base import Embedding, Model, run_steps
from server.engine.types import DecodeRequest, Logits, MaskResult, Timings
from server.errors import WireError
from server.geometry import Frame
from server.load import load
from server.protocol import (
    MAX_DATA_BYTES,
    MAX_FRAME_BYTES,
    MAX_POINTS,
    SUBPROTOCOL,
    Cancel,
    ClientMessage,
    Close,
    Data,
    Done,
    Error,
    Hello,
    Limits,
    MaskReply,
    ModelInfo,
    Open,
    Opened,
    OpenTimings,
    Release,
    Segment,
    Send,
    ServerMessage,
    Superseded,
    Welcome,
    pack,
    unpack_client,
)
from server.serve import bind
from server.sessions.memory import Memory
from server.sessions.prompts import mask_reply, prompt_of, want_of

__all__ = ["LockedModel", "main", "server_of"]

_T = TypeVar("_T")
_HOST = "127.0.0.1"
_KEPT_LOGITS = 32
_KEPT_EMBEDDINGS = 32


class LockedModel:
    """A model, and the one thread that uses it."""

    def __init__(
        self,
        load: Callable[[], Model],
        max_decode_ms: float,
        *,
        max_pixels: int,
        reduced_jpeg: bool,
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lock")
        self._embeddings: dict[str, Embedding] = {}
        self.max_pixels = max_pixels
        self.model = self._thread.submit(load).result()
        self._enough = self.model.needed_side if reduced_jpeg else None
        self._thread.submit(lambda: self.model.warm_up(max_decode_ms)).result()

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do `work` when everything that came before is done."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def encode(self, data: bytes) -> Embedding:
        """Bytes to embedding, in one piece; the last few are kept, as such servers do."""
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._embeddings:
            image = images.read(data, self.max_pixels, side=self._enough)
            self._embeddings[digest] = run_steps(self.model.encode(image.rgb, image.size))
        if len(self._embeddings) > _KEPT_EMBEDDINGS:
            del self._embeddings[next(iter(self._embeddings))]
        return self._embeddings[digest]

    def decode(
        self, embedding: Embedding, asked: Segment, prior: Logits | None, asked_at: float
    ) -> MaskResult:
        """Prompt to mask, as the server does it for a batch of one."""
        started_at = time.monotonic()
        request = DecodeRequest(
            prompt_of(asked), want_of(asked, has_prior=prior is not None), prior
        )
        (decoded,) = self.model.decode([(embedding, request)])
        decoded_at = time.monotonic()
        frame = Frame(embedding.width, embedding.height, self.model.input_size)
        found, logits = masks.finish(decoded, frame)
        ended_at = time.monotonic()
        timings = Timings(
            queue_ms=(started_at - asked_at) * 1e3,
            decode_ms=(decoded_at - started_at) * 1e3,
            post_ms=(ended_at - decoded_at) * 1e3,
            batch=1,
        )
        return MaskResult(found, logits, timings)


class _Session:
    """One connection: an image, and the logits of its clicks."""

    def __init__(self, socket: WebSocket, locked: LockedModel) -> None:
        self._socket = socket
        self._locked = locked
        self._upload: Open | None = None
        self._received = bytearray()
        self._image: asyncio.Future[Embedding] | None = None
        self._memory = Memory(kept_logits=_KEPT_LOGITS)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        try:
            while True:
                message = unpack_client(await self._socket.receive_bytes())
                await self._take(message)
        except WebSocketDisconnect:
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, message: ClientMessage) -> None:
        match message:
            case Hello():
                await self._say(_welcome(self._locked))
            case Open():
                self._upload = message
                self._received.clear()
                self._memory = Memory(kept_logits=_KEPT_LOGITS)
                self._image = asyncio.get_running_loop().create_future()
                await self._say(Send(id=message.id))
            case Data():
                self._received += message.bytes
                if self._upload is not None and len(self._received) == self._upload.size:
                    self._start(self._open(self._upload, bytes(self._received)))
            case Segment():
                self._start(self._segment(message, time.monotonic()))
            case Close():
                self._image = None
                await self._say(Done(id=message.id))
            case Release() | Cancel():
                pass

    async def _open(self, asked: Open, data: bytes) -> None:
        image = self._image
        started_at = time.monotonic()
        try:
            embedding = await self._locked.run(lambda: self._locked.encode(data))
        except WireError as refused:
            await self._say(Error.of(refused, asked.id))
            return
        if image is None or image is not self._image:
            await self._say(Superseded(id=asked.id))
            return
        image.set_result(embedding)
        took_ms = (time.monotonic() - started_at) * 1e3
        await self._say(
            Opened(
                id=asked.id,
                width=embedding.width,
                height=embedding.height,
                sha256=hashlib.sha256(data).hexdigest(),
                cached=False,
                timings=OpenTimings(wait_ms=0.0, decode_ms=0.0, encode_ms=took_ms),
            )
        )

    async def _segment(self, asked: Segment, asked_at: float) -> None:
        if self._image is None:
            await self._say(Error.of(WireError("not_open", "open an image first"), asked.id))
            return
        embedding, memory = await asyncio.shield(self._image), self._memory
        reply = await self._locked.run(lambda: self._mask(asked, embedding, memory, asked_at))
        await self._say(reply)

    def _mask(
        self, asked: Segment, embedding: Embedding, memory: Memory, asked_at: float
    ) -> MaskReply:
        """On the one thread, so that each click sees the logits of those before it."""
        prompt = prompt_of(asked)
        prior_id, prior = memory.automatic(asked.object, prompt)
        result = self._locked.decode(embedding, asked, cast("Logits | None", prior), asked_at)
        if asked.kind == "click":
            memory.add(asked.object, asked.id, prompt, result.logits)
        return mask_reply(asked, prior_id, result)

    async def _say(self, message: ServerMessage) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # nobody there to hear it
            await self._socket.send_bytes(pack(message))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def server_of(locked: LockedModel) -> uvicorn.Server:
    """A server with the socket where samwire has it, and the same transport."""

    async def serve(socket: WebSocket) -> None:
        await socket.accept(subprotocol=SUBPROTOCOL)
        await _Session(socket, locked).run()

    config = uvicorn.Config(
        Starlette(routes=[WebSocketRoute("/v1/ws", serve)]),
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def _welcome(locked: LockedModel) -> Welcome:
    return Welcome(
        session="lock",
        protocol=SUBPROTOCOL,
        server="samwire-peer-lock",
        model=ModelInfo(name=locked.model.name, input_size=locked.model.input_size),
        limits=Limits(
            max_frame_bytes=MAX_FRAME_BYTES,
            max_data_bytes=MAX_DATA_BYTES,
            max_image_bytes=32 << 20,
            max_image_pixels=locked.max_pixels,
            max_points=MAX_POINTS,
            max_waiting_clicks=1 << 20,
            idle_timeout_s=1e9,
            segments_per_s=1e9,
        ),
        features=("candidates",),
    )


def main() -> None:
    """Serve until killed, on the port the settings say."""
    settings = Settings().model_copy(update={"host": _HOST})
    listener = bind(settings)
    listener.listen()  # from here on connections wait for us
    _err(f"samwire peer lock: http://{_HOST}:{listener.getsockname()[1]}")
    locked = LockedModel(
        lambda: load(settings, _quietly),
        settings.max_decode_ms,
        max_pixels=settings.max_image_pixels,
        reduced_jpeg=settings.reduced_jpeg,
    )
    _err(f"ready: model={locked.model.name}")
    server_of(locked).run(sockets=[listener])


def _quietly(had: int, size: int) -> None:
    """A download shows nothing: nobody watches."""
    del had, size


def _err(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
