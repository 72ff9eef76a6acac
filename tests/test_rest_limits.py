"""Who may use sessions by HTTP, and how much of the server: tokens, places, rates, bodies."""

import asyncio
import socket
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from starlette.requests import Request

from server.rest import _token_of
from tests.support.pictures import jpeg
from tests.support.rest import ANNA, BERT, MIDDLE, PHOTO, client, figure, opened, refused
from tests.support.running_server import RunningServer, running_server

UPLOAD = (
    b"POST /v1/sessions HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer anna\r\n"
    b"Content-Type: image/png\r\n"
)


@pytest.fixture(scope="module")
def guarded() -> Iterator[RunningServer]:
    """A server with tokens, two places, little room, and short waits."""
    with running_server(
        tokens="anna,bert",
        max_sessions=2,
        spare_after_s=600,
        max_image_bytes=200_000,
        max_uploads_bytes=200_000,
        max_image_pixels=100_000,
        upload_timeout_s=1,
        idle_timeout_s=2,
        segments_per_s=0.01,
        segment_burst=3,
    ) as server:
        yield server


async def test_without_a_token_that_is_known_there_is_no_session(guarded: RunningServer) -> None:
    async with client(guarded) as http:
        for headers in [
            {},
            {"Authorization": "Bearer eve"},
            {"Authorization": "Basic anna"},
            {"Authorization": "Bearer " + "a" * 5000},
        ]:
            answer = await http.post("/v1/sessions", files={"image": PHOTO}, headers=headers)
            refused(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["anna", "ключ", "a b"])
def test_a_token_is_read_as_it_was_meant(token: str) -> None:
    headers = [(b"authorization", f"Bearer {token}".encode())]
    assert _token_of(Request({"type": "http", "headers": headers})) == token


async def test_the_session_of_another_is_not_to_be_used(guarded: RunningServer) -> None:
    async with client(guarded, **ANNA) as http:
        session = await opened(http)
        for other in [{}, BERT, {"Authorization": "Bearer eve"}]:
            async with client(guarded, **other) as them:
                answer = await them.post(f"{session}/point", json=MIDDLE)
                refused(answer, 401, "unauthorized")
                refused(await them.delete(session), 401, "unauthorized")
        assert (await http.delete(session)).status_code == 200


async def test_who_comes_when_every_place_is_taken_is_asked_to_come_again(
    guarded: RunningServer,
) -> None:
    async with client(guarded, **ANNA) as http:
        sessions = [await opened(http) for _ in range(2)]
        refused(await http.post("/v1/sessions", files={"image": PHOTO}), 503, "full")
        for session in sessions:
            assert (await http.delete(session)).status_code == 200
        assert (await http.delete(await opened(http))).status_code == 200


async def test_who_is_idle_for_too_long_finds_the_session_gone(guarded: RunningServer) -> None:
    async with client(guarded, **ANNA) as http:
        session = await opened(http)
        async with asyncio.timeout(10):
            while await figure(http, "sessions_active"):
                pass
        refused(await http.post(f"{session}/point", json=MIDDLE), 404, "not_open")


async def test_who_asks_too_often_is_told_when_to_come_again(guarded: RunningServer) -> None:
    async with client(guarded, **ANNA) as http:
        session = await opened(http)
        answers = [await http.post(f"{session}/point", json=MIDDLE) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        refused(answers[3], 429, "rate_limited")
        assert answers[3].headers["retry-after"] == "1"
        await http.delete(session)


@pytest.mark.parametrize("form", [True, False])
async def test_who_announces_too_large_a_body_is_told_before_it_is_sent(
    guarded: RunningServer, form: bool
) -> None:
    files = {"files": {"image": bytes(2_000_000)}}
    whole = httpx.Request("POST", guarded.http, **(files if form else {"content": b""}))
    kind = {"content-type": whole.headers.get("content-type", "image/png")}
    async with client(guarded, **ANNA) as http:
        body = whole.read() or bytes(2_000_000)
        answer = await http.post("/v1/sessions", content=body, headers=kind)
        refused(answer, 413, "image_too_large", "image")
        assert await figure(http, "uploads_bytes") == 0


@pytest.mark.parametrize("path", ["/v1/sessions", "/livez"])
async def test_a_body_in_chunks_is_refused_before_any_of_it_is_taken(
    guarded: RunningServer, path: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + b"1\r\nx\r\n" * 10_000)
    assert b" 400 " in await reader.readline()
    writer.close()


async def test_an_image_of_too_many_pixels_is_refused(guarded: RunningServer) -> None:
    async with client(guarded, **ANNA) as http:
        image = jpeg(np.zeros((400, 400, 3), np.uint8))
        answer = await http.post("/v1/sessions", files={"image": image})
        refused(answer, 413, "too_many_pixels")


async def test_an_image_that_fills_the_room_for_uploads_still_fits(guarded: RunningServer) -> None:
    async with client(guarded, **ANNA) as http:
        image = PHOTO + bytes(200_000 - len(PHOTO))
        assert (await http.delete(await opened(http, image))).status_code == 200


@pytest.mark.parametrize("begun", [b"", b"12345"])
async def test_who_sends_no_body_or_stops_is_not_waited_for(
    guarded: RunningServer, begun: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
    writer.write(UPLOAD + b"Content-Length: 1000\r\n\r\n" + begun)
    answer = await reader.readuntil(b"}}")
    assert b" 408 " in answer.partition(b"\r\n")[0]
    assert b"upload_stalled" in answer
    writer.close()
    async with client(guarded) as http:
        assert await figure(http, "uploads_bytes") == 0


async def test_who_sends_in_drops_is_not_waited_for(guarded: RunningServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
    writer.write(UPLOAD + b"Content-Length: 100000\r\n\r\n")
    answer = asyncio.create_task(reader.readline())
    async with client(guarded) as http:
        while not answer.done():
            writer.write(b"1")
            await figure(http, "uploads_bytes")  # takes its time
    assert b" 408 " in await answer
    writer.close()


async def test_who_leaves_while_sending_leaves_nothing_behind(fake: RunningServer) -> None:
    async with client(fake) as http:
        before = await figure(http, "sessions_active")
        with socket.create_connection(("127.0.0.1", fake.port)) as rude:
            rude.sendall(UPLOAD + b"Content-Length: 1000\r\n\r\n12345")
            async with asyncio.timeout(10):
                while await figure(http, "sessions_active") <= before:
                    pass
        async with asyncio.timeout(10):
            while await figure(http, "sessions_active") > before:
                pass
        assert await figure(http, "uploads_bytes") == 0
