"""The Python client against the real server, with the fake model."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from client_demo.client import Client, Progress, SamwireError, Superseded, connect
from tests.support.pictures import jpeg, noise, scene
from tests.support.running_server import RunningServer, running_server

PIXELS, (BALL, *_) = scene(480, 360)
PHOTO = jpeg(PIXELS)
INSIDE, BESIDE = (130.0, 162.0), (180.0, 162.0, 0)


@pytest.fixture
async def sam(fake: RunningServer) -> AsyncIterator[Client]:
    async with connect(fake.url) as client:
        yield client


async def test_a_photo_is_opened_clicked_refined_and_closed(sam: Client) -> None:
    told: list[Progress] = []
    image = await sam.open(noise(700, 500, seed=1), on_progress=told.append)
    first = await sam.segment(points=[INSIDE])
    second = await sam.segment(points=[INSIDE, BESIDE])
    await sam.close()

    assert (image.width, image.height, image.cached) == (700, 500, False)
    assert {progress.stage for progress in told} >= {"upload", "encode"}
    assert first.mask().shape == (500, 700)
    assert first.mask()[162, 130]
    assert (first.prior, second.prior) == (None, first.id)
    assert second.area < first.area


async def test_a_photo_opened_twice_is_cached(sam: Client) -> None:
    await sam.open(PHOTO)

    assert (await sam.open(PHOTO)).cached


async def test_undo_gives_the_earlier_mask_again(sam: Client) -> None:
    await sam.open(PHOTO)
    first = await sam.segment(points=[INSIDE])
    await sam.segment(points=[INSIDE, BESIDE])

    assert (await sam.segment(points=[INSIDE])).rle == first.rle


async def test_a_hover_shows_what_a_click_gives(sam: Client) -> None:
    await sam.open(PHOTO)
    hover = await sam.hover(points=[INSIDE])
    click = await sam.segment(points=[INSIDE])

    assert hover is not None
    assert hover.rle == click.rle


async def test_a_box_may_leave_the_picture(sam: Client) -> None:
    await sam.open(PHOTO)
    mask = await sam.segment(box=(-100, -100, 240, 180))

    assert mask.area > 0


async def test_candidates_are_best_first_and_can_be_refined(sam: Client) -> None:
    await sam.open(PHOTO)
    mask = await sam.segment(points=[INSIDE], candidates=True)
    scores = [candidate.score for candidate in mask.candidates]
    refined = await sam.segment(points=[INSIDE, BESIDE], prior=mask.candidates[1])

    assert scores == sorted(scores, reverse=True)
    assert mask.rle == mask.candidates[0].rle
    assert refined.prior == mask.id


async def test_any_mask_may_be_refined(sam: Client) -> None:
    await sam.open(PHOTO)

    assert (await sam.segment(points=[INSIDE], prior=BALL)).mask().shape == BALL.shape


async def test_a_prior_long_gone_is_replaced_by_the_mask_itself(sam: Client) -> None:
    await sam.open(PHOTO)
    mask = await sam.segment(points=[INSIDE])
    for shift in range(6):
        await sam.segment(points=[(100.0 + shift, 100.0)])

    assert (await sam.segment(points=[INSIDE, BESIDE], prior=mask)).area > 0


async def test_hovers_in_a_storm_all_end_and_the_last_is_answered(sam: Client) -> None:
    await sam.open(PHOTO)

    async with asyncio.timeout(30):
        hovers = await asyncio.gather(
            *[sam.hover(points=[(100.0 + n / 10, 162.0)]) for n in range(600)]
        )

    assert hovers[-1] is not None
    assert hovers[-1].mask()[162, 160]


async def test_clicks_in_a_row_on_one_object_are_answered_or_superseded(sam: Client) -> None:
    await sam.open(PHOTO)

    clicks = await asyncio.gather(
        *[sam.segment(points=[(100.0 + n, 162.0)]) for n in range(20)], return_exceptions=True
    )

    assert all(not isinstance(c, BaseException) or isinstance(c, Superseded) for c in clicks)
    assert not isinstance(clicks[-1], BaseException)


async def test_two_clients_see_their_own_images(fake: RunningServer) -> None:
    async with connect(fake.url) as one, connect(fake.url) as other:
        await one.open(np.zeros((60, 80, 3), np.uint8))
        await other.open(PHOTO)
        small, big = await asyncio.gather(
            one.segment(points=[(40, 30)]), other.segment(points=[INSIDE])
        )

    assert small.mask().shape == (60, 80)
    assert big.mask().shape == (360, 480)


@pytest.mark.parametrize(
    ("prompt", "code", "field"),
    [
        ({"points": [(481, 1)]}, "bad_field", "points.0"),
        ({"points": [(1, 1, 0)]}, "no_positive_prompt", "points"),
        ({"box": (500, 400, 600, 500)}, "bad_field", "box"),
        ({"prior": np.zeros((2, 2), np.bool_)}, "bad_field", "prior.size"),
    ],
)
async def test_a_bad_prompt_is_refused_and_the_session_lives_on(
    sam: Client, prompt: dict[str, object], code: str, field: str
) -> None:
    await sam.open(PHOTO)
    with pytest.raises(SamwireError) as refused:
        await sam.segment(**prompt)  # type: ignore[arg-type] # the point of the test

    assert (refused.value.code, refused.value.field) == (code, field)
    assert (await sam.segment(points=[INSIDE])).area > 0


async def test_a_broken_connection_is_hidden(sam: Client) -> None:
    await sam.open(PHOTO)
    first = await sam.segment(points=[INSIDE])
    refined = await sam.segment(points=[INSIDE, BESIDE])
    socket = sam._link._socket
    assert socket is not None
    socket.transport.abort()
    await socket.wait_closed()
    await asyncio.sleep(0)

    again = await sam.segment(points=[INSIDE, BESIDE])

    assert sam._link.number == 2
    assert first.area != refined.area
    assert again.mask().shape == refined.mask().shape


async def test_a_server_that_wants_a_token_says_so() -> None:
    with running_server(tokens="sesame") as guarded:
        async with connect(guarded.url, token="sesame") as sam:  # noqa: S106 - the test's own
            await sam.open(PHOTO)
        with pytest.raises(SamwireError) as refused:
            await connect(guarded.url, token="guess").__aenter__()  # noqa: S106 - the test's own

    assert refused.value.code == "unauthorized"
