"""What the client returns: masks, with the prompts they were made from."""

from dataclasses import dataclass

from server import rle
from server.protocol import MaskBody, MaskReply, SegmentTimings
from server.rle import BinaryMask, Rle

__all__ = ["Mask", "mask_of"]


@dataclass(frozen=True)
class Mask:
    """One mask of the open image."""

    id: int
    """The request it answers."""
    object: int
    rle: Rle
    """COCO compressed RLE, as pycocotools reads it."""
    bbox: tuple[float, float, float, float]
    """x, y, width, height in pixels; zeros when the mask is empty."""
    area: int
    score: float
    """The model's own guess of its IoU, 0..1."""
    timings: SegmentTimings
    prior: int | None = None
    """The request whose logits were refined, if any."""
    index: int = 0
    """Which candidate of its request this is."""
    connection: int = 0
    """Which connection, of a client that reconnects, it came over."""
    candidates: tuple["Mask", ...] = ()
    """All three, best first, if they were asked for."""

    def mask(self) -> BinaryMask:
        """Expand to height x width booleans.

        Raises:
            ValueError: the server's counts are malformed.
        """
        return rle.decode(self.rle)


def mask_of(reply: MaskReply, connection: int = 0) -> Mask:
    """What a server's `mask` says."""
    candidates = tuple(
        _mask(reply, body, connection, index) for index, body in enumerate(reply.candidates or ())
    )
    return _mask(reply, reply, connection, 0, candidates)


def _mask(
    reply: MaskReply,
    body: MaskBody,
    connection: int,
    index: int,
    candidates: tuple[Mask, ...] = (),
) -> Mask:
    return Mask(
        id=reply.id,
        object=reply.object,
        rle=Rle(size=body.rle.size, counts=body.rle.counts),
        bbox=body.bbox,
        area=body.area,
        score=body.score,
        timings=reply.timings,
        prior=reply.prior,
        index=index,
        connection=connection,
        candidates=candidates,
    )
