"""Segments one object of one photo: what `samwire segment PHOTO` does, here or on a server."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client_demo import overlay
from client_demo.client import connect
from server.engine import images, masks
from server.engine.models.base import Model, run_steps
from server.engine.types import Box, DecodeRequest, Point, Prompt
from server.geometry import Frame
from server.rle import Rle, decode

__all__ = ["Wanted", "parse_prompt", "segment_here", "segment_there"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make of the mask."""

    out: Path | None = None
    overlay: Path | None = None
    as_json: bool = False


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
    prompt: Prompt,
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
        prompt: in pixels, or in 0..1 of width and height if `normalized`.
        normalized: see `prompt`.
        wanted: what to make of the mask.
        max_pixels: refuse larger photos.
        reduced_jpeg: read of a JPEG no more pixels than the model needs.
        progress: told the fraction encoded.

    Raises:
        WireError: `bad_image` or `too_many_pixels`.
        ValueError: the prompt does not lie in the photo.
    """
    enough = model.needed_side if reduced_jpeg else None
    image = images.read(photo.read_bytes(), max_pixels, side=enough)
    width, height = image.size
    prompt = _in_pixels(prompt, width, height) if normalized else prompt
    _check(prompt, width, height)
    embedding = run_steps(model.encode(image.rgb, image.size), progress)
    lone_point = len(prompt.points) == 1 and prompt.box is None
    request = DecodeRequest(prompt, "best" if lone_point else "single")
    [decoded] = model.decode([(embedding, request)])
    frame = Frame(width, height, model.input_size)
    [mask], _ = masks.finish(decoded, frame)
    rle = Rle(size=mask.size, counts=mask.counts)
    _show(_Found(rle, mask.bbox, mask.area, mask.score), photo, prompt, wanted)


def segment_there(
    server: str, token: str | None, photo: Path, prompt: Prompt, *, normalized: bool, wanted: Wanted
) -> None:
    """The same on a server.

    Raises:
        SamwireError: the server refused, or could not be reached.
        ValueError: the prompt does not lie in the photo.
    """
    asyncio.run(_ask(server, token, photo, prompt, normalized=normalized, wanted=wanted))


async def _ask(
    server: str, token: str | None, photo: Path, prompt: Prompt, *, normalized: bool, wanted: Wanted
) -> None:
    async with connect(server, token=token, name="samwire-segment") as sam:
        opened = await sam.open(photo)
        if normalized:
            prompt = _in_pixels(prompt, opened.width, opened.height)
        _check(prompt, opened.width, opened.height)
        mask = await sam.segment(points=prompt.points, box=prompt.box)
    _show(_Found(mask.rle, mask.bbox, mask.area, mask.score), photo, prompt, wanted)


def _show(found: _Found, photo: Path, prompt: Prompt, wanted: Wanted) -> None:
    mask = decode(found.rle)
    if wanted.out is not None:
        overlay.save_png(wanted.out, mask)
    if wanted.overlay is not None:
        picture = overlay.draw(overlay.load_rgb(photo), mask, points=prompt.points, box=prompt.box)
        overlay.save_png(wanted.overlay, picture)
    told = (found.rle, found.bbox, found.area, found.score)
    if wanted.as_json:
        print(json.dumps(overlay.as_json(*told)))
    else:
        print(overlay.summary(found.rle["size"], *told[1:]))


def parse_prompt(include: list[str], exclude: list[str], box: str | None) -> Prompt:
    """Read "x,y" and "x0,y0,x1,y1".

    Raises:
        ValueError: not as many numbers as expected.
    """
    points = [_point(text, 1) for text in include] + [_point(text, 0) for text in exclude]
    if box is None:
        return Prompt(tuple(points))
    x0, y0, x1, y1 = _numbers(box, 4)
    return Prompt(tuple(points), (x0, y0, x1, y1))


def _point(text: str, label: int) -> Point:
    x, y = _numbers(text, 2)
    return x, y, label


def _numbers(text: str, count: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count} numbers with commas between them, got {text!r}")
    return numbers


def _in_pixels(prompt: Prompt, width: int, height: int) -> Prompt:
    def point(given: Point) -> Point:
        return given[0] * width, given[1] * height, given[2]

    def box(given: Box) -> Box:
        return given[0] * width, given[1] * height, given[2] * width, given[3] * height

    return Prompt(tuple(map(point, prompt.points)), box(prompt.box) if prompt.box else None)


def _check(prompt: Prompt, width: int, height: int) -> None:
    if prompt.box is None and not any(label for _, _, label in prompt.points):
        raise ValueError("say where the object is: --point x,y or --box x0,y0,x1,y1")
    corners = [prompt.box[:2], prompt.box[2:]] if prompt.box else []
    places = np.array([point[:2] for point in prompt.points] + corners)
    if not np.all((places >= 0) & (places <= (width, height))):
        raise ValueError(f"expected points and boxes inside the {width} x {height} photo")
    if prompt.box and not (prompt.box[0] < prompt.box[2] and prompt.box[1] < prompt.box[3]):
        raise ValueError("expected a box x0,y0,x1,y1 with x0 < x1 and y0 < y1")
