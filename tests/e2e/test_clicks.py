"""An annotator's work on a picture, with the bundled model and its own weights."""

import numpy as np
import pytest
from numpy.typing import NDArray

from server import rle
from server.protocol import Close, Done, MaskBody, MaskReply
from tests.support.pictures import jpeg, scene
from tests.support.running_server import RunningServer
from tests.support.wire import Wire, wire

PIXELS, MASKS = scene()
PHOTO = jpeg(PIXELS)
BALL, BOX, PLATE = MASKS


def pixels(body: MaskBody) -> NDArray[np.bool_]:
    return rle.decode(rle.Rle(size=body.rle.size, counts=body.rle.counts))


def iou(body: MaskBody, truth: NDArray[np.bool_]) -> float:
    mask = pixels(body)
    return float((mask & truth).sum() / (mask | truth).sum())


def centre(truth: NDArray[np.bool_]) -> tuple[float, float, int]:
    rows, columns = np.nonzero(truth)
    return float(columns.mean()), float(rows.mean()), 1


def around(truth: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(truth)
    return float(columns.min()), float(rows.min()), columns.max() + 1.0, rows.max() + 1.0


@pytest.mark.parametrize("truth", MASKS, ids=["ball", "box", "plate"])
async def test_one_click_finds_the_object_among_its_candidates(
    tiny: RunningServer, truth: NDArray[np.bool_]
) -> None:
    async with wire(tiny.url) as client:
        await client.open(PHOTO)
        mask = await client.click(centre(truth), candidates=True)
        assert mask.candidates is not None
        scores = [candidate.score for candidate in mask.candidates]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        assert mask.rle == mask.candidates[0].rle
        assert max(iou(candidate, truth) for candidate in mask.candidates) > 0.6


@pytest.mark.parametrize("truth", MASKS, ids=["ball", "box", "plate"])
async def test_a_box_finds_the_object_in_it(tiny: RunningServer, truth: NDArray[np.bool_]) -> None:
    async with wire(tiny.url) as client:
        await client.open(PHOTO)
        assert iou(await client.click(box=around(truth)), truth) > 0.75


async def test_a_mask_says_what_its_rle_says(tiny: RunningServer) -> None:
    async with wire(tiny.url) as client:
        await client.open(PHOTO)
        mask = await client.click(centre(BALL))
        rows, columns = np.nonzero(pixels(mask))
        assert mask.area == rows.size
        width, height = columns.max() - columns.min() + 1, rows.max() - rows.min() + 1
        assert mask.bbox == (columns.min(), rows.min(), width, height)
        assert 0.0 <= mask.score <= 1.0


async def test_more_clicks_refine_the_last_mask_and_undo_gives_it_back(
    tiny: RunningServer,
) -> None:
    async with wire(tiny.url) as client:
        await client.open(PHOTO)
        first = await client.click(centre(BALL))
        more = [centre(BALL), (200.0, 250.0, 1), (500.0, 600.0, 0)]
        refined = await client.click(*more)
        assert refined.prior == first.id
        undone = await client.click(centre(BALL))
        assert (undone.prior, undone.rle) == (None, first.rle)
        again = await client.click(*more, prior=(first.id, 0))
        assert again.rle == refined.rle


async def test_an_excluded_part_leaves_the_mask(tiny: RunningServer) -> None:
    async with wire(tiny.url) as client:
        await client.open(PHOTO)
        both = await client.click(centre(BALL), centre(BOX), object=1)
        x, y, _ = centre(BOX)
        without = await client.click(centre(BALL), (x, y, 0), object=2)
        taken = pixels(both)[int(y) - 40 : int(y) + 40, int(x) - 40 : int(x) + 40].mean()
        left = pixels(without)[int(y) - 40 : int(y) + 40, int(x) - 40 : int(x) + 40].mean()
        assert left < 0.5
        assert left < taken


async def test_a_chosen_candidate_is_refined_as_chosen(tiny: RunningServer) -> None:
    async with wire(tiny.url) as client:
        await client.open(PHOTO)
        mask = await client.click(centre(PLATE), candidates=True)
        points = (centre(PLATE), (450.0, 610.0, 1))
        by_default = await client.click(*points)
        chosen = [await client.click(*points, prior=(mask.id, index)) for index in range(3)]
        assert [reply.prior for reply in chosen] == [mask.id] * 3
        assert chosen[0].rle == by_default.rle
        assert len({reply.rle.counts for reply in chosen}) > 1


async def test_a_hover_shows_what_the_click_then_gives(tiny: RunningServer) -> None:
    async with wire(tiny.url) as client:
        await client.open(PHOTO)
        hovered = await client.click(centre(BOX), kind="hover")
        clicked = await client.click(centre(BOX))
        assert hovered.rle == clicked.rle


async def test_two_objects_do_not_share_their_masks(tiny: RunningServer) -> None:
    async with wire(tiny.url) as client:
        await client.open(PHOTO)
        ball, box = (
            await client.click(centre(BALL), object=1),
            await client.click(centre(BOX), object=2),
        )
        assert (ball.prior, box.prior) == (None, None)
        assert iou(ball, pixels(box)) < 0.5


async def test_a_narrow_picture_has_a_mask_of_its_own_size(tiny: RunningServer) -> None:
    async with wire(tiny.url) as client:
        opened = await client.open(jpeg(np.ascontiguousarray(PIXELS[:, 100:160])))
        mask = await _centre_click(client, opened.width, opened.height)
        assert mask.rle.size == (720, 60)


async def _centre_click(client: Wire, width: int, height: int) -> MaskReply:
    return await client.click((width / 2, height / 2, 1))


async def test_closing_and_opening_again_gives_the_same_mask(tiny: RunningServer) -> None:
    async with wire(tiny.url) as client:
        await client.open(PHOTO)
        before = await client.click(centre(BALL))
        await client.send(Close(id=client.next_id()))
        await client.expect(Done)
        assert (await client.open(PHOTO)).cached
        assert (await client.click(centre(BALL))).rle == before.rle
