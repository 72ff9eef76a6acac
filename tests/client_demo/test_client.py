import asyncio
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.asyncio.server import serve

from client_demo.client import ConnectionLost, Mask, SamwireError, Superseded, connect
from server.protocol import (
    Cancel,
    Close,
    Data,
    Done,
    Error,
    Hello,
    Open,
    Progress,
    Release,
    RleBody,
    Segment,
    Send,
)
from server.protocol import Superseded as SupersededMessage
from tests.support.scripted_server import (
    MASK,
    WELCOME,
    Peer,
    mask_reply,
    opened,
    scripted_server,
)
from tests.support.scripts import (
    answers,
    check,
    drop,
    hangs_up,
    opens,
    refuses,
    then,
    until,
)

PHOTO = b"not really a photo"
POINT = (1.5, 1.5)
SESAME = "sesame"
EXPECTED = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]], np.bool_)


async def test_entering_brings_the_servers_welcome() -> None:
    async def script(peer: Peer) -> None:
        hello = await peer.greets()
        assert (hello.token, hello.client) == (SESAME, "samwire-python")
        await peer.socket.wait_closed()
        assert peer.socket.close_code == 1000

    async with scripted_server(script) as url, connect(url, token=SESAME) as sam:
        assert sam.welcome == WELCOME


async def test_a_server_that_cannot_be_reached_is_said_at_once() -> None:
    with pytest.raises(ConnectionLost, match=r"cannot reach ws://127\.0\.0\.1:9/v1/ws"):
        await connect("http://127.0.0.1:9").__aenter__()


async def test_a_wrong_token_is_said_by_its_code() -> None:
    async with scripted_server(hangs_up(4001, "unauthorized: expected a valid `token`")) as url:
        with pytest.raises(SamwireError, match="expected a valid `token`") as refused:
            await connect(url).__aenter__()

    assert refused.value.code == "unauthorized"


async def test_a_full_server_is_asked_again() -> None:
    full = hangs_up(1013, "full: every place is taken")

    async with scripted_server(full, full, opens) as url, connect(url) as sam:
        await sam.open(PHOTO)


async def test_a_server_that_stays_full_is_given_up() -> None:
    async def always_full(socket: Any) -> None:
        await socket.close(1013, "full: every place is taken")

    async with serve(always_full, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        with pytest.raises(SamwireError, match="every place is taken") as refused:
            await connect(url, patience_s=0.2).__aenter__()

    assert refused.value.code == "full"


async def test_an_image_is_opened_by_digest_and_its_bytes_are_kept_back() -> None:
    async def script(peer: Peer) -> None:
        message = await peer.opens()
        assert (message.size, message.prefetch) == (len(PHOTO), False)
        assert message.sha256 == hashlib.sha256(PHOTO).hexdigest()

    async with scripted_server(script) as url, connect(url) as sam:
        image = await sam.open(PHOTO)

    assert (image.width, image.height, image.cached) == (4, 3, True)


async def test_bytes_go_out_in_chunks_when_they_are_asked_for() -> None:
    photo = bytes(range(256)) * 2500
    told: list[Progress] = []

    async def script(peer: Peer) -> None:
        await peer.greets()
        message = await peer.hears(Open)
        await peer.says(Send(id=message.id))
        chunks = [(await peer.hears(Data)).bytes for _ in range(3)]
        assert [len(chunk) for chunk in chunks] == [262_144, 262_144, 115_712]
        assert b"".join(chunks) == photo
        await peer.says(Progress(id=message.id, stage="upload", fraction=1.0))
        await peer.says(opened(message.id))

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(photo, on_progress=told.append)

    assert [(progress.stage, progress.fraction) for progress in told] == [("upload", 1.0)]


async def test_a_click_may_go_between_the_chunks_of_a_prefetch() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        prefetch = await peer.hears(Open)
        assert prefetch.prefetch
        await peer.says(Send(id=prefetch.id))
        await peer.hears(Data)
        begun.set()
        clicked = False
        for _ in range(9):
            message = await peer.hears(Data | Segment)  # type: ignore[arg-type] # either will do
            clicked = clicked or isinstance(message, Segment)
            if isinstance(message, Segment):
                await peer.says(mask_reply(message))
        assert clicked
        await peer.says(Done(id=prefetch.id))

    begun = asyncio.Event()
    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        prefetching = asyncio.create_task(sam.prefetch(bytes(9 * 262_144)))
        await begun.wait()
        await sam.segment(points=[POINT])
        await prefetching


async def test_nothing_is_prefetched_where_that_is_no_feature() -> None:
    async def script(peer: Peer) -> None:
        await peer.hears(Hello)
        await peer.says(WELCOME.model_copy(update={"features": ()}))

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.prefetch(PHOTO)


async def test_an_image_that_cannot_be_opened_leaves_none_open() -> None:
    async def script(peer: Peer) -> None:
        await peer.greets()
        message = await peer.hears(Open)
        await peer.says(Error(id=message.id, code="bad_image", message="no image", fault="client"))

    async with scripted_server(script) as url, connect(url) as sam:
        with pytest.raises(SamwireError, match="bad_image: no image"):
            await sam.open(PHOTO)
        with pytest.raises(SamwireError, match="not_open"):
            await sam.segment(points=[POINT])


async def test_a_newer_open_supersedes_an_older_one() -> None:
    async def script(peer: Peer) -> None:
        await peer.greets()
        first = await peer.hears(Open)
        second = await peer.hears(Open)
        await peer.says(SupersededMessage(id=first.id, by=second.id), opened(second.id))

    async with scripted_server(script) as url, connect(url) as sam:
        first = asyncio.create_task(sam.open(b"first"))
        await until(lambda: sam._image is not None)
        assert (await sam.open(b"second")).width == 4
        with pytest.raises(Superseded):
            await first


async def test_an_open_that_is_cancelled_is_given_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.greets()
        message = await peer.hears(Open)
        cancelled.set()
        assert (await peer.hears(Cancel)).target == message.id

    cancelled = asyncio.Event()
    async with scripted_server(script) as url, connect(url) as sam:
        opening = asyncio.create_task(sam.open(PHOTO))
        await cancelled.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_a_mask_comes_back_typed() -> None:
    async with scripted_server(then(answers)) as url, connect(url) as sam:
        await sam.open(PHOTO)
        mask = await sam.segment(points=[POINT], object=7)

    assert np.array_equal(mask.mask(), EXPECTED)
    assert (mask.object, mask.area, mask.bbox, mask.score) == (7, 2, (1.0, 1.0, 1.0, 2.0), 0.75)
    assert mask.rle == {"size": (3, 4), "counts": b"426"}
    assert mask.timings.decode_ms == 1.0
    assert mask.candidates == ()


async def test_candidates_come_best_first() -> None:
    async with scripted_server(then(answers)) as url, connect(url) as sam:
        await sam.open(PHOTO)
        mask = await sam.segment(points=[POINT], candidates=True)

    assert [candidate.index for candidate in mask.candidates] == [0, 1, 2]
    assert [candidate.area for candidate in mask.candidates] == [2, 0, 0]


async def test_prompts_reach_the_server_as_they_were_meant() -> None:
    heard: list[Segment] = []

    async with scripted_server(then(check(heard))) as url, connect(url) as sam:
        await sam.open(PHOTO)
        point = np.array([2, 1])
        await sam.segment(points=[POINT, (3, 1, 0), tuple(point)], box=(-5, 9, 2, 0.5))

    assert heard[0].points == ((1.5, 1.5, 1), (3.0, 1.0, 0), (2.0, 1.0, 1))
    assert heard[0].box == (0.0, 0.5, 2.0, 3.0)
    assert heard[0].prior_is_automatic


async def test_a_point_that_is_no_number_is_refused_before_it_is_sent() -> None:
    async with scripted_server(opens) as url, connect(url) as sam:
        await sam.open(PHOTO)
        with pytest.raises(SamwireError) as refused:
            await sam.segment(points=[(float("nan"), 1.0)])

    assert (refused.value.code, refused.value.field) == ("bad_field", "points.0.0")


async def test_an_error_tells_its_code_field_fault_and_when_to_try_again() -> None:
    script = refuses(code="busy", field="id", retry_after=0.5)

    async with scripted_server(then(script)) as url, connect(url) as sam:
        await sam.open(PHOTO)
        with pytest.raises(SamwireError) as refused:
            await sam.segment(points=[POINT])

    error = refused.value
    assert (error.code, error.field, error.fault, error.retry_after) == (
        "busy",
        "id",
        "client",
        0.5,
    )


async def test_a_click_that_was_overtaken_says_by_which() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        first, second = await peer.hears(Segment), await peer.hears(Segment)
        await peer.says(SupersededMessage(id=first.id, by=second.id), mask_reply(second))

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        first, second = await asyncio.gather(
            sam.segment(points=[POINT]), sam.segment(points=[POINT]), return_exceptions=True
        )

    assert isinstance(first, Superseded)
    assert isinstance(second, Mask)
    assert first.by == second.id


async def test_the_last_hover_is_answered_and_the_earlier_ones_are_none() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        asked = [await peer.hears(Segment) for _ in range(4)]
        assert {message.kind for message in asked} == {"hover"}
        await peer.says(mask_reply(asked[-1]))

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        hovers = await asyncio.gather(*[sam.hover(points=[(n, 1)]) for n in range(4)])

    assert [hover is not None for hover in hovers] == [False, False, False, True]


async def test_a_click_that_nobody_awaits_any_more_is_cancelled() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        message = await peer.hears(Segment)
        asked.set()
        assert (await peer.hears(Cancel)).target == message.id
        await peer.says(SupersededMessage(id=message.id))

    asked = asyncio.Event()
    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        click = asyncio.create_task(sam.segment(points=[POINT]))
        await asked.wait()
        click.cancel()
        with pytest.raises(asyncio.CancelledError):
            await click


async def test_cancel_gives_up_what_is_unanswered_of_an_object() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        messages = [await peer.hears(Segment) for _ in range(3)]
        asked.set()
        targets = {(await peer.hears(Cancel)).target, (await peer.hears(Cancel)).target}
        assert targets == {messages[0].id, messages[1].id}
        await peer.says(SupersededMessage(id=messages[0].id), mask_reply(messages[2]))

    asked = asyncio.Event()
    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        click = asyncio.create_task(sam.segment(points=[POINT], object=1))
        hover = asyncio.create_task(sam.hover(points=[POINT], object=1))
        other = asyncio.create_task(sam.segment(points=[POINT], object=2))
        await asked.wait()
        await sam.cancel(1)
        with pytest.raises(Superseded):
            await click
        assert await hover is None
        assert (await other).object == 2


async def test_an_object_is_released_here_and_there() -> None:
    heard: list[Segment] = []

    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.answers()
        assert (await peer.hears(Release)).object == 3

    async with scripted_server(script, then(check(heard))) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await sam.segment(points=[POINT], object=3)
        await sam.release(3)
        await drop(sam)
        await sam.segment(points=[POINT, POINT], object=3)

    assert heard[0].prior is None


async def test_close_frees_the_image_and_keeps_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.opens()
        await peer.says(Done(id=(await peer.hears(Close)).id))
        message = await peer.hears(Open)
        await peer.says(opened(message.id))

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await sam.close()
        with pytest.raises(SamwireError, match="not_open"):
            await sam.segment(points=[POINT])
        await sam.open(PHOTO)


@pytest.mark.parametrize("index", [0, 2])
async def test_a_mask_or_candidate_as_prior_goes_by_its_name(index: int) -> None:
    heard: list[Segment] = []

    async with scripted_server(then(answers, check(heard))) as url, connect(url) as sam:
        await sam.open(PHOTO)
        mask = await sam.segment(points=[POINT], candidates=True)
        await sam.segment(points=[POINT], prior=mask.candidates[index])

    assert heard[0].prior == (mask.id, index)


async def test_any_mask_may_be_a_prior_and_none_too() -> None:
    heard: list[Segment] = []

    async with scripted_server(then(check(heard), check(heard))) as url, connect(url) as sam:
        await sam.open(PHOTO)
        await sam.segment(prior=EXPECTED)
        await sam.segment(points=[POINT], prior=None)

    assert heard[0].prior == RleBody(size=(3, 4), counts=b"426")
    assert heard[1].prior is None
    assert not heard[1].prior_is_automatic


async def test_a_prior_that_is_gone_is_sent_as_a_mask() -> None:
    heard: list[Segment] = []
    script = then(answers, refuses(code="prior_gone"), check(heard))

    async with scripted_server(script) as url, connect(url) as sam:
        await sam.open(PHOTO)
        mask = await sam.segment(points=[POINT])
        await sam.segment(points=[POINT, (3, 1, 0)], prior=mask)

    assert heard[0].prior == MASK.rle


def test_the_client_imports_no_torch_and_no_server() -> None:
    script = (
        "import sys\n"
        "blocked = ['torch', 'torchvision', 'starlette', 'uvicorn', 'typer', 'prometheus_client']\n"
        "sys.modules.update(dict.fromkeys(blocked))\n"
        "import client_demo.client, client_demo.demo, client_demo.overlay\n"
        "loaded = {name for name in sys.modules if name.startswith('server.')}\n"
        "ours = ('protocol', 'messages', 'rle', 'geometry', 'errors')\n"
        "assert loaded <= {f'server.{name}' for name in ours}, loaded\n"
    )
    root = Path(__file__).parents[2]

    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=root)
