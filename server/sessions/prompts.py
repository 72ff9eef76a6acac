"""What a `segment` means: its prompt, which masks it wants, whether it can be, and its reply."""

from server.engine.types import MaskResult, Prompt, Want
from server.errors import WireError
from server.protocol import MaskBody, MaskReply, RleBody, Segment, SegmentTimings

__all__ = ["check_geometry", "is_positive", "mask_reply", "prompt_of", "want_of"]


def prompt_of(message: Segment) -> Prompt:
    """The prompt set, without the rest of the message."""
    return Prompt(points=message.points, box=message.box)


def is_positive(prompt: Prompt) -> bool:
    """Whether anything says where the object is, rather than where it is not."""
    return prompt.box is not None or any(label == 1 for _, _, label in prompt.points)


def want_of(message: Segment, *, has_prior: bool) -> Want:
    """SAM's ambiguity rule: one lone point may mean the whole, a part or a sub-part."""
    if message.candidates:
        return "all"
    lone_point = len(message.points) == 1 and message.box is None and not has_prior
    return "best" if lone_point else "single"


def check_geometry(message: Segment, width: int, height: int) -> None:
    """Refuse what does not lie in the image.

    Raises:
        WireError: `bad_field`, naming the point, the box or the prior's size.
    """
    for index, (x, y, _) in enumerate(message.points):
        if not (0 <= x <= width and 0 <= y <= height):
            text = f"expected a point inside the {width} x {height} image"
            raise WireError("bad_field", text, field=f"points.{index}")
    if message.box is not None:
        x0, y0, x1, y1 = message.box
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            text = f"expected x0 < x1 and y0 < y1 inside the {width} x {height} image"
            raise WireError("bad_field", text, field="box")
    if isinstance(message.prior, RleBody) and message.prior.size != (height, width):
        text = f"expected a mask of size [{height}, {width}]"
        raise WireError("bad_field", text, field="prior.size")


def mask_reply(message: Segment, prior_id: int | None, result: MaskResult) -> MaskReply:
    """The message that answers `message` with `result`."""
    bodies = tuple(
        MaskBody(
            rle=RleBody(size=mask.size, counts=mask.counts),
            bbox=mask.bbox,
            area=mask.area,
            score=mask.score,
        )
        for mask in result.masks
    )
    best, timings = bodies[0], result.timings
    return MaskReply(
        rle=best.rle,
        bbox=best.bbox,
        area=best.area,
        score=best.score,
        id=message.id,
        object=message.object,
        prior=prior_id,
        candidates=bodies if message.candidates else None,
        timings=SegmentTimings(
            queue_ms=timings.queue_ms,
            decode_ms=timings.decode_ms,
            post_ms=timings.post_ms,
            batch=timings.batch,
        ),
    )
