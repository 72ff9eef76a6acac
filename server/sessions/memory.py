"""The logits of answered clicks, kept so that later clicks can refine them.

Bounded twice: the newest few answered clicks an object, and so many logits in all, the oldest going
first. What is gone is gone loudly (`prior_gone`), never a silent "no prior".
"""

from collections import deque
from dataclasses import dataclass
from itertools import chain

from server.engine.types import Prompt
from server.errors import WireError
from server.sessions.effects import LogitsHandle

__all__ = ["Memory"]

_POINT_BYTES = 120  # three numbers in a tuple


@dataclass(frozen=True, slots=True)
class _Answered:
    id: int
    prompt: Prompt
    logits: tuple[LogitsHandle, ...]
    """One a candidate, best first."""

    @property
    def nbytes(self) -> int:
        logits = sum(logits.nbytes for logits in self.logits)
        return logits + _POINT_BYTES * len(self.prompt.points)


class Memory:
    """What a session remembers of its masks.

    Args:
        kept_per_object: answered clicks kept, an object.
        kept_logits: logits kept in all; a click with candidates has three.
    """

    def __init__(self, *, kept_per_object: int = 4, kept_logits: int = 32) -> None:
        self._kept_per_object = kept_per_object
        self._kept_logits = kept_logits
        self._answered: dict[int, deque[_Answered]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the kept logits and their prompts take."""
        return sum(answered.nbytes for answered in self._all())

    def add(
        self, number: int, click_id: int, prompt: Prompt, logits: tuple[LogitsHandle, ...]
    ) -> None:
        """Remember the answer to a click on object `number`."""
        answered = self._answered.setdefault(number, deque())
        answered.append(_Answered(click_id, prompt, logits))
        if len(answered) > self._kept_per_object:
            answered.popleft()
        while sum(len(answered.logits) for answered in self._all()) > self._kept_logits:
            self._forget_oldest()

    def automatic(
        self, number: int, prompt: Prompt
    ) -> tuple[int, LogitsHandle] | tuple[None, None]:
        """The newest answered click whose prompt set is a proper subset of `prompt`."""
        for answered in reversed(self._answered.get(number, deque())):
            if prompt.extends(answered.prompt):
                return answered.id, answered.logits[0]
        return None, None

    def find(self, number: int, click_id: int, index: int) -> LogitsHandle:
        """That candidate of that earlier reply.

        Raises:
            WireError: `prior_gone`.
        """
        for answered in self._answered.get(number, deque()):
            if answered.id == click_id and index < len(answered.logits):
                return answered.logits[index]
        text = f"candidate {index} of mask {click_id} is not kept; send another prior, or none"
        raise WireError("prior_gone", text, field="prior")

    def forget(self, number: int) -> None:
        """Drop everything about one object."""
        self._answered.pop(number, None)

    def clear(self) -> None:
        """Drop everything."""
        self._answered.clear()

    def _forget_oldest(self) -> None:
        number = min(self._answered, key=lambda number: self._answered[number][0].id)
        self._answered[number].popleft()
        if not self._answered[number]:
            del self._answered[number]

    def _all(self) -> chain[_Answered]:
        return chain.from_iterable(self._answered.values())
