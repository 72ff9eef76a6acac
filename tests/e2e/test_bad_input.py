"""Whatever a client sends, it gets one clear answer, and the server goes on."""

import asyncio
import contextlib

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed

from server.protocol import Data, Hello, Open, Opened, Segment
from tests.support.figures import figure, until
from tests.support.pictures import jpeg, noise, png
from tests.support.running_server import RunningServer
from tests.support.wire import Wire, wire

PHOTO = jpeg(noise(320, 240))


async def close_code(client: Wire) -> int | None:
    """Read to the end; why it ended."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in client.socket:
            pass
    return client.socket.close_code


async def test_a_text_frame_closes_with_1003(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        await client.socket.send("hello")
        assert await close_code(client) == 1003


@pytest.mark.parametrize("flags", [b"\x81", b"\x01"], ids=["whole", "fragment"])
async def test_text_that_is_none_closes_with_1003_too(fake: RunningServer, flags: bytes) -> None:
    async with wire(fake.url) as client, asyncio.timeout(5):
        client.socket.transport.write(flags + b"\x81" + bytes(4) + b"\xff")  # no UTF-8
        assert await close_code(client) == 1003


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_frame_over_a_mebibyte_closes_with_1009_and_is_counted(
    fake: RunningServer, pieces: int
) -> None:
    name = 'samwire_refusals_total{code="frame_too_big"}'
    before = await figure(fake, name)
    async with wire(fake.url) as client:
        frame = bytes((1 << 20) + 1)
        size = len(frame) // pieces + 1
        with contextlib.suppress(ConnectionClosed):  # cut off before it has sent all
            await client.socket.send(frame[i : i + size] for i in range(0, len(frame), size))
        assert await close_code(client) == 1009
    await until(fake, name, before + 1)


async def test_anything_before_hello_closes_with_1002(fake: RunningServer) -> None:
    async with wire(fake.url, greet=False) as client:
        await client.send(Open(id=1, size=10))
        assert await close_code(client) == 1002


async def test_an_unknown_subprotocol_is_told_both_versions(fake: RunningServer) -> None:
    async with wire(fake.url, greet=False, subprotocols=["samwire.v9"]) as client:
        assert client.socket.subprotocol == "samwire.v9"
        with pytest.raises(ConnectionClosed) as closed:
            await client.socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1002
        assert "samwire.v1" in closed.value.rcvd.reason
        assert "samwire.v9" in closed.value.rcvd.reason


async def test_no_subprotocol_means_version_one(fake: RunningServer) -> None:
    async with wire(fake.url, subprotocols=None) as client:
        assert (await client.open(PHOTO)).width == 320


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\xff\x00garbage", "bad_frame"),
        (b"", "bad_frame"),
        (msgpack.packb([1, 2]), "bad_frame"),
        (msgpack.packb({"type": "dance", "id": 1}), "unknown_type"),
        (msgpack.packb({"type": "segment", "id": 1, "color": 3}), "unknown_field"),
        (msgpack.packb({"type": "segment", "id": 1, "points": [[1, 2, 7]]}), "bad_field"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_session_lives_on(
    fake: RunningServer, frame: bytes, code: str
) -> None:
    async with wire(fake.url) as client:
        await client.socket.send(frame)
        assert (await client.error()).code == code
        client.next_id()  # the refused frame may have used it
        assert (await client.open(PHOTO)).height == 240


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"not an image at all", "bad_image"),
        (PHOTO[: len(PHOTO) // 2], "bad_image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "bad_image"),
    ],
)
async def test_a_bad_image_fails_its_open_and_the_next_one_opens(
    fake: RunningServer, data: bytes, code: str
) -> None:
    async with wire(fake.url) as client:
        await client.upload(data)
        assert (await client.error()).code == code
        await client.open(PHOTO)


async def test_bytes_of_another_sha256_are_refused(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        open_id = client.next_id()
        await client.send(Open(id=open_id, size=len(PHOTO), sha256="0" * 64))
        await client.receive()  # send
        await client.send(Data(id=open_id, bytes=PHOTO[: 256 << 10]))
        assert (await client.error()).code == "sha256_mismatch"


async def test_an_image_over_the_limit_is_refused_before_it_is_sent(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        await client.send(Open(id=client.next_id(), size=33 << 20))
        refused = await client.error()
        assert (refused.code, refused.field) == ("image_too_large", "size")


async def test_a_prompt_without_an_image_is_not_open(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        await client.send(Segment(id=client.next_id(), points=((1, 1, 1),)))
        assert (await client.error()).code == "not_open"


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"points": [(321.0, 5.0, 1)]}, "bad_field", "points.0"),
        ({"points": [(5.0, 5.0, 1), (-1.0, 5.0, 1)]}, "bad_field", "points.1"),
        ({"box": (10.0, 10.0, 10.0, 50.0)}, "bad_field", "box"),
        ({"box": (10.0, 10.0, 500.0, 50.0)}, "bad_field", "box"),
        ({"points": [(5.0, 5.0, 0)]}, "no_positive_prompt", "points"),
        ({"points": [(5.0, 5.0, 1)], "prior": (1, 0)}, "prior_gone", "prior"),
        ({"prior": {"size": (9, 9), "counts": b"1"}}, "bad_field", "prior.size"),
        ({"prior": {"size": (240, 320), "counts": b"1"}}, "bad_field", "prior.counts"),
    ],
)
async def test_a_prompt_that_makes_no_sense_names_its_field(
    fake: RunningServer, fields: dict[str, object], code: str, field: str
) -> None:
    async with wire(fake.url) as client:
        await client.open(PHOTO)
        request = {"type": "segment", "id": client.next_id(), **fields}
        await client.socket.send(msgpack.packb(request))
        refused = await client.error()
        assert (refused.code, refused.field, refused.id) == (code, field, request["id"])
        await client.click((5, 5, 1))


async def test_a_picture_of_any_mode_opens(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        grey = png(noise(64, 48)[..., 0])
        assert (await client.open(grey)).width == 64


async def test_a_repeated_id_is_an_error_without_id(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        await client.open(PHOTO)
        await client.click((5, 5, 1))
        await client.send(Segment(id=1, points=((5, 5, 1),)))
        refused = await client.error()
        assert (refused.code, refused.id) == ("bad_id", None)


async def test_a_flood_of_garbage_ends_with_4008(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        for _ in range(700):
            await client.socket.send(b"\xc1")
        assert await close_code(client) == 4008
    async with wire(fake.url) as other:
        await other.open(PHOTO)


async def test_a_second_hello_is_an_error(fake: RunningServer) -> None:
    async with wire(fake.url) as client:
        await client.send(Hello())
        assert (await client.error()).code == "bad_frame"
        opened = await client.open(PHOTO)
        assert isinstance(opened, Opened)
