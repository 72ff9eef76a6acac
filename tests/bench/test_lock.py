import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from server.bench.lock import LockedModel, server_of
from server.engine.fake import FakeModel
from server.engine.models.base import Model
from server.errors import WireError
from server.protocol import Close, Done, MaskReply, Opened, Segment, Send
from tests.support.engines import SeeingModel
from tests.support.pictures import jpeg, scene
from tests.support.running_server import RunningServer
from tests.support.wire import Wire, wire

PHOTO = jpeg(scene(320, 240)[0])
LARGE = jpeg(scene(1280, 960)[0])
POINT, OTHER = (86.0, 108.0, 1), (120.0, 108.0, 0)


def locked(
    load: Callable[[], Model], *, max_pixels: int = 2_000_000, reduced_jpeg: bool = False
) -> LockedModel:
    return LockedModel(load, 30.0, max_pixels=max_pixels, reduced_jpeg=reduced_jpeg)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    server = server_of(locked(FakeModel))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/v1/ws"
        server.should_exit = True
        await serving


@pytest.fixture
async def peer(url: str) -> AsyncIterator[Wire]:
    async with wire(url) as client:
        yield client


async def open_photo(client: Wire) -> Opened:
    await client.upload(PHOTO)
    await client.expect(Send)
    return await client.expect(Opened)


async def test_it_answers_what_the_server_answers(peer: Wire, fake: RunningServer) -> None:
    opened = await open_photo(peer)
    replies = [await peer.click(POINT), await peer.click(POINT, OTHER)]
    async with wire(fake.url) as client:
        await client.open(PHOTO)
        expected = [await client.click(POINT), await client.click(POINT, OTHER)]

    assert (opened.width, opened.height) == (320, 240)
    assert [reply.rle for reply in replies] == [reply.rle for reply in expected]
    assert [reply.prior for reply in replies] == [None, replies[0].id]


@pytest.mark.parametrize(("reduced", "seen"), [(False, (960, 1280, 3)), (True, (480, 640, 3))])
def test_a_jpeg_is_read_at_the_scale_that_the_server_reads_it_at(
    seen: tuple[int, ...], *, reduced: bool
) -> None:
    model = SeeingModel()

    embedding = locked(lambda: model, reduced_jpeg=reduced).encode(LARGE)

    assert model.seen == [seen]
    assert (embedding.width, embedding.height) == (1280, 960)


def test_more_pixels_than_are_set_are_refused() -> None:
    with pytest.raises(WireError, match="too_many_pixels"):
        locked(FakeModel, max_pixels=320 * 240 - 1).encode(PHOTO)


async def test_it_supersedes_nothing_and_keeps_the_order(peer: Wire) -> None:
    await open_photo(peer)
    asked = [
        Segment(id=peer.next_id(), points=(POINT,), kind=kind)
        for kind in ("click", "hover", "click", "hover", "hover", "click")
    ]
    await peer.send(*asked)
    replies = [await peer.expect(MaskReply) for _ in asked]

    assert [reply.id for reply in replies] == [message.id for message in asked]
    assert {reply.timings.batch for reply in replies} == {1}


async def test_a_bad_image_and_a_click_without_one_are_errors(peer: Wire) -> None:
    await peer.upload(b"no image")
    await peer.expect(Send)
    assert (await peer.error()).code == "bad_image"
    closing = Close(id=peer.next_id())
    await peer.send(closing, Segment(id=peer.next_id(), points=(POINT,)))

    assert (await peer.expect(Done)).id == closing.id
    assert (await peer.error()).code == "not_open"


async def test_a_client_may_leave_in_the_middle(url: str) -> None:
    async with wire(url) as client:
        await open_photo(client)
        await client.send(Segment(id=client.next_id(), points=(POINT,)))
    async with wire(url) as client:
        await open_photo(client)
        assert (await client.click(POINT)).area > 0
