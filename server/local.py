"""Segments one object of one photo: what `samwire segment PHOTO` does, here or on a server."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from client_demo import overlay
from client_demo.client import connect
from client_demo.command_line import Prompts, Wanted, write
from client_demo.prompts import segment_of
from server.engine import images, masks
from server.engine.models.base import Model, run_steps
from server.engine.types import DecodeRequest
from server.geometry import Frame
from server.protocol import Segment
from server.rle import Rle, decode
from server.sessions.prompts import check_geometry, prompt_of, want_of

__all__ = ["segment_here", "segment_there"]


@dataclass(frozen=True, slots=True)
class _Found:
    """What the mask is, whoever made it."""

    rle: Rle
    bbox: tuple[float, float, float, float]
    area: int
    score: float


def segment_here(
    model: Model,
    photo: Path,
    prompts: Prompts,
    *,
    normalized: bool,
    wanted: Wanted,
    max_pixels: int,
    reduced_jpeg: bool,
    progress: Callable[[float], None],
) -> None:
    """Encode the photo and decode one prompt in this process.

    Args:
        model: any; it need not be warm.
        photo: an image file.
        prompts: in pixels, or in 0..1 of width and height if `normalized`.
        normalized: see `prompts`.
        wanted: what to make of the mask.
        max_pixels: refuse larger photos.
        reduced_jpeg: read of a JPEG no more pixels than the model needs.
        progress: told the fraction encoded.

    Raises:
        SamwireError: too many points.
        WireError: `bad_image`, `too_many_pixels`, or a prompt that does not lie in the photo.
    """
    enough = model.needed_side if reduced_jpeg else None
    image = images.read(photo.read_bytes(), max_pixels, side=enough)
    width, height = image.size
    prompts = prompts.in_pixels(width, height) if normalized else prompts
    asked = _message(prompts, width, height)
    embedding = run_steps(model.encode(image.rgb, image.size), progress)
    request = DecodeRequest(prompt_of(asked), want_of(asked, has_prior=False))
    [decoded] = model.decode([(embedding, request)])
    frame = Frame(width, height, model.input_size)
    [mask], _ = masks.finish(decoded, frame)
    rle = Rle(size=mask.size, counts=mask.counts)
    _show(_Found(rle, mask.bbox, mask.area, mask.score), photo, prompts, wanted)


def segment_there(
    server: str,
    token: str | None,
    photo: Path,
    prompts: Prompts,
    *,
    normalized: bool,
    wanted: Wanted,
) -> None:
    """The same on a server.

    Raises:
        SamwireError: the server refused, or could not be reached.
        WireError: a prompt does not lie in the photo.
    """
    asyncio.run(_ask(server, token, photo, prompts, normalized=normalized, wanted=wanted))


async def _ask(
    server: str,
    token: str | None,
    photo: Path,
    prompts: Prompts,
    *,
    normalized: bool,
    wanted: Wanted,
) -> None:
    async with connect(server, token=token, name="samwire-segment") as sam:
        opened = await sam.open(photo)
        if normalized:
            prompts = prompts.in_pixels(opened.width, opened.height)
        asked = _message(prompts, opened.width, opened.height)
        mask = await sam.segment(points=asked.points, box=asked.box)
    _show(_Found(mask.rle, mask.bbox, mask.area, mask.score), photo, prompts, wanted)


def _show(found: _Found, photo: Path, prompts: Prompts, wanted: Wanted) -> None:
    # All of its pixels, in the colours the model saw: whoever asked may have read fewer.
    write(
        wanted,
        decode(found.rle),
        prompts,
        lambda: images.decode(photo.read_bytes(), images.MAX_PIXELS),
    )
    told = (found.rle, found.bbox, found.area, found.score)
    if wanted.as_json:
        print(json.dumps(overlay.as_json(*told)))
    else:
        print(overlay.summary(found.rle["size"], *told[1:]))


def _message(prompts: Prompts, width: int, height: int) -> Segment:
    """What a server is sent, checked as a server checks it.

    Raises:
        SamwireError: more points than a message holds.
        WireError: they do not lie in the photo.
    """
    # Not the client's box, which is mended: one that was typed the wrong way is better refused.
    asked = segment_of((width, height), points=prompts.points, id=1)
    asked = asked.model_copy(update={"box": prompts.box})
    check_geometry(asked, width, height)
    return asked
