from typing import Any

from server.protocol import (
    Done,
    Error,
    MaskReply,
    Opened,
    Progress,
    Send,
    ServerMessage,
    Superseded,
)
from server.sessions.outbox import Outbox
from server.sessions.prompts import mask_reply
from tests.support.annotators import DIGEST, TIMINGS
from tests.support.segments import click, result


def mask(request_id: int, number: int = 0, masks: int = 1, counts: bytes = b"0") -> MaskReply:
    message = click(request_id, number, candidates=masks > 1)
    return mask_reply(message, None, result(masks, counts=counts))


def progress(open_id: int, fraction: float, stage: str = "encode") -> Progress:
    return Progress.model_validate({"id": open_id, "stage": stage, "fraction": fraction})


def outbox_with(*messages: ServerMessage) -> Outbox:
    outbox = Outbox(1_000_000)
    for message in messages:
        outbox.push(message)
    return outbox


def drained(outbox: Outbox) -> list[ServerMessage]:
    messages = []
    while (message := outbox.pop()) is not None:
        messages.append(message)
    assert outbox.nbytes == 0
    return messages


def in_short(messages: list[ServerMessage]) -> list[tuple[str, Any]]:
    return [(message.type, getattr(message, "id", None)) for message in messages]


def test_messages_leave_in_the_order_they_came() -> None:
    messages: list[ServerMessage] = [
        Send(id=1),
        Done(id=2),
        mask(3, 1),
        mask(4, 2),
        Superseded(id=5),
    ]
    assert drained(outbox_with(*messages)) == messages


def test_an_empty_outbox_has_nothing_to_send() -> None:
    assert Outbox(10).pop() is None


def test_a_clicks_mask_gives_way_to_a_newer_one_and_leaves_its_terminal_reply() -> None:
    outbox = outbox_with(mask(1), Done(id=2), mask(3))
    assert drained(outbox) == [Superseded(id=1, by=3), Done(id=2), mask(3)]


def test_each_mask_in_a_row_gives_way_to_the_next() -> None:
    outbox = outbox_with(mask(1), mask(2), mask(3))
    assert drained(outbox) == [Superseded(id=1, by=2), Superseded(id=2, by=3), mask(3)]


def test_masks_of_other_objects_do_not_give_way() -> None:
    outbox = outbox_with(mask(1, 1), mask(2, 2))
    assert in_short(drained(outbox)) == [("mask", 1), ("mask", 2)]


def test_a_mask_that_has_left_is_not_superseded() -> None:
    outbox = outbox_with(mask(1))
    outbox.pop()
    outbox.push(mask(2))
    assert in_short(drained(outbox)) == [("mask", 2)]


def test_a_hovers_mask_silently_gives_way_to_a_newer_hovers() -> None:
    outbox = outbox_with()
    outbox.push(mask(1), hover=True)
    outbox.push(Done(id=2))
    outbox.push(mask(3), hover=True)
    assert in_short(drained(outbox)) == [("done", 2), ("mask", 3)]


def test_a_hovers_mask_that_gives_way_to_a_clicks_is_still_settled() -> None:
    outbox = outbox_with()
    outbox.push(mask(1), hover=True)
    outbox.push(mask(2))
    assert drained(outbox) == [Superseded(id=1, by=2), mask(2)]


def test_a_clicks_mask_never_gives_way_to_a_hovers() -> None:
    outbox = outbox_with(mask(1))
    for request_id in (2, 3):
        outbox.push(mask(request_id), hover=True)
    assert in_short(drained(outbox)) == [("mask", 1), ("mask", 3)]


def test_hovers_of_different_objects_do_not_give_way() -> None:
    outbox = outbox_with()
    outbox.push(mask(1, 1), hover=True)
    outbox.push(mask(2, 2), hover=True)
    assert in_short(drained(outbox)) == [("mask", 1), ("mask", 2)]


def test_the_same_object_of_another_image_is_another_object() -> None:
    opened = Opened(id=2, width=1, height=1, sha256=DIGEST, cached=True, timings=TIMINGS)
    outbox = outbox_with(mask(1), opened, mask(3))
    assert in_short(drained(outbox)) == [("mask", 1), ("opened", 2), ("mask", 3)]


def test_of_the_progress_of_a_stage_only_the_newest_waits() -> None:
    outbox = outbox_with(progress(1, 0.1), Done(id=2), progress(1, 0.2), progress(1, 0.3))
    assert drained(outbox) == [Done(id=2), progress(1, 0.3)]


def test_progress_of_other_stages_and_opens_is_kept() -> None:
    messages = (progress(1, 1.0, "upload"), progress(1, 0.1), progress(2, 0.1))
    assert drained(outbox_with(*messages)) == list(messages)


def test_nothing_else_is_ever_dropped() -> None:
    error = Error(id=1, code="busy", message="wait", fault="overload")
    messages: list[ServerMessage] = [
        error,
        error,
        Done(id=1),
        Done(id=1),
        Superseded(id=1),
        Send(id=1),
        Send(id=1),
    ]
    assert drained(outbox_with(*messages)) == messages


def test_a_reader_too_slow_for_long_masks_makes_the_outbox_overfull() -> None:
    outbox = Outbox(10_000)
    outbox.push(mask(1, 1, counts=b"0" * 9_000))
    assert not outbox.overfull
    outbox.push(mask(2, 2, counts=b"0" * 9_000))
    assert outbox.overfull
    outbox.pop()
    assert not outbox.overfull


def test_short_messages_count_too() -> None:
    outbox = Outbox(10_000)
    for request_id in range(1, 100):
        outbox.push(Done(id=request_id))
    assert outbox.overfull


def test_candidates_and_long_errors_count() -> None:
    candidates = outbox_with(mask(1, masks=3, counts=b"0" * 1_000))
    assert candidates.nbytes > 4_000
    long = Error(code="bad_frame", message="x" * 5_000, fault="client")
    assert outbox_with(long).nbytes > 5_000


def test_what_gives_way_makes_room() -> None:
    outbox = Outbox(20_000)
    for request_id in range(1, 1000):
        outbox.push(mask(request_id, counts=b"0" * 9_000), hover=True)
        outbox.push(progress(7, 0.5))
    assert not outbox.overfull
    clicks = outbox_with(mask(1, counts=b"0" * 9_000))
    before = clicks.nbytes
    clicks.push(mask(2, counts=b"0" * 9_000))
    assert clicks.nbytes < before + 1_000
