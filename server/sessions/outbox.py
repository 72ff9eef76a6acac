"""What a client has yet to read, bounded in bytes.

Rules of this file:
- A waiting mask gives way only to a newer mask of its object. A click's mask leaves `superseded`
  in its place, and never gives way to a hover's. A hover's mask gives way without a word to a newer
  hover's, which settles it; to a click's it leaves `superseded`.
- Of the progress of one open in one stage only the newest waits.
- Nothing else is ever dropped: who lets more than `max_bytes` wait is closed.

Messages are packed when they leave, so what gives way is never packed; until then their size is
estimated from the only parts that can be long.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import count

from server.protocol import Error, MaskReply, Opened, Progress, ServerMessage, Superseded

__all__ = ["Outbox"]

_ENVELOPE_BYTES = 512  # a message without its long parts, as bytes on the wire and as an object


@dataclass(frozen=True, slots=True)
class _Waiting:
    message: ServerMessage
    slot: Hashable
    """Those that may give way to one another have the same slot; None = never gives way."""
    nbytes: int


class Outbox:
    """Messages on their way out, in order.

    Args:
        max_bytes: more than this waiting makes it `overfull`.
    """

    def __init__(self, max_bytes: int) -> None:
        self.nbytes = 0
        self._max_bytes = max_bytes
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._newest: dict[Hashable, int] = {}
        self._sequence = count()

    @property
    def overfull(self) -> bool:
        """Whether the reader is too slow."""
        return self.nbytes > self._max_bytes

    def push(self, message: ServerMessage, *, hover: bool = False) -> None:
        """Let a message wait; `hover` says that it answers one."""
        slot: Hashable = None
        if isinstance(message, MaskReply):
            slot = ("hover" if hover else "click", message.object)
            self._make_way(message, hover=hover)
        elif isinstance(message, Progress):
            slot = ("progress", message.id, message.stage)
            self._drop(slot)
        elif isinstance(message, Opened):
            self._newest.clear()  # from here on the same number is another image's object
        self._put(next(self._sequence), _Waiting(message, slot, _estimate(message)))

    def pop(self) -> ServerMessage | None:
        """The next message to send; None when there is none."""
        if not self._waiting:
            return None
        sequence, waiting = self._waiting.popitem(last=False)
        self.nbytes -= waiting.nbytes
        if self._newest.get(waiting.slot) == sequence:
            del self._newest[waiting.slot]
        return waiting.message

    def _make_way(self, mask: MaskReply, *, hover: bool) -> None:
        if hover:
            self._drop(("hover", mask.object))
        else:
            self._supersede(("click", mask.object), mask.id)
            self._supersede(("hover", mask.object), mask.id)

    def _put(self, sequence: int, waiting: _Waiting) -> None:
        self._waiting[sequence] = waiting
        self.nbytes += waiting.nbytes
        if waiting.slot is not None:
            self._newest[waiting.slot] = sequence

    def _drop(self, slot: Hashable) -> None:
        sequence = self._newest.pop(slot, None)
        if sequence is not None:
            self.nbytes -= self._waiting.pop(sequence).nbytes

    def _supersede(self, slot: Hashable, by: int) -> None:
        sequence = self._newest.pop(slot, None)
        if sequence is None:
            return
        mask = self._waiting[sequence]
        if isinstance(mask.message, MaskReply):
            superseded = Superseded(id=mask.message.id, by=by)
            self.nbytes -= mask.nbytes
            self._put(sequence, _Waiting(superseded, None, _estimate(superseded)))


def _estimate(message: ServerMessage) -> int:
    if isinstance(message, MaskReply):
        masks = (message, *(message.candidates or ()))
        return sum(_ENVELOPE_BYTES + len(mask.rle.counts) for mask in masks)
    if isinstance(message, Error):
        return _ENVELOPE_BYTES + len(message.message) + len(message.field or "")
    return _ENVELOPE_BYTES
