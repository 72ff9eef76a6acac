"""The objects of an image, with the engine's part played by hand."""

from typing import Any

import pytest

from server.engine.types import MaskResult
from server.errors import WireError
from server.sessions.effects import Effect
from server.sessions.memory import Memory
from server.sessions.objects import Objects
from tests.support.segments import (
    Image,
    click,
    hover,
    result,
    told,
)


class Table:
    """The objects of an open image, with the engine's part played by hand."""

    def __init__(self, *, is_open: bool = True, max_waiting_clicks: int = 16) -> None:
        self.memory = Memory()
        self.objects = Objects(max_waiting_clicks=max_waiting_clicks, memory=self.memory)
        if is_open:
            self.objects.opened(Image())

    def click(self, request_id: int, number: int = 0, **fields: Any) -> list[Effect]:
        return self.objects.ask(click(request_id, number, **fields))

    def hover(self, request_id: int, number: int = 0, **fields: Any) -> list[Effect]:
        return self.objects.ask(hover(request_id, number, **fields))

    def start(self, *tickets: int) -> None:
        for ticket in tickets:
            self.objects.started(ticket)

    def finish(self, ticket: int, outcome: MaskResult | WireError | None = None) -> list[Effect]:
        return self.objects.finished(ticket, outcome or result())

    def answered(self, request_id: int, masks: int = 1, **fields: Any) -> MaskResult:
        """A click and its answer."""
        self.click(request_id, **fields)
        outcome = result(masks)
        assert told(self.finish(request_id, outcome)) == [("mask", request_id)]
        return outcome

    def refusal(self, request_id: int, **fields: Any) -> WireError:
        with pytest.raises(WireError) as refused:
            self.click(request_id, **fields)
        return refused.value
