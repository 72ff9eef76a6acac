import pytest

from client_demo.load.ledger import Kind, Ledger, Records
from server.protocol import Error, Segment, Send, ServerMessage, Superseded
from tests.support.scripted_server import mask_reply, opened


class Account:
    """A ledger in which request n was due, and sent, at second n."""

    def __init__(self, counts_from_s: float = 0.0) -> None:
        self.records = Records()
        self.ledger = Ledger(self.records, counts_from_s)

    def ask(self, request_id: int, kind: Kind = "click", number: int = 0) -> None:
        self.ledger.ask(request_id, kind, number, due_s=request_id, sent_s=request_id)

    def hear(self, message: ServerMessage, now_s: float) -> None:
        self.ledger.hear(message, now_s)

    def mask(self, request_id: int, now_s: float) -> None:
        self.hear(mask_reply(Segment(id=request_id)), now_s)


def busy(request_id: int | None) -> Error:
    return Error(id=request_id, code="busy", message="", fault="overload")


def test_latency_counts_from_when_it_was_due_not_from_when_it_was_sent() -> None:
    records = Records()
    ledger = Ledger(records, 0.0)

    ledger.ask(1, "click", 0, due_s=10.0, sent_s=12.0)
    ledger.hear(mask_reply(Segment(id=1)), 13.0)

    assert records.latencies_s["click"] == [3.0]
    assert records.lateness_s == [2.0]


def test_what_was_due_in_the_warm_up_does_not_count() -> None:
    account = Account(counts_from_s=2.0)
    account.ask(1)
    account.ask(2)

    account.mask(1, 5.0)
    account.mask(2, 5.0)

    assert account.records.latencies_s["click"] == [3.0]
    assert account.records.asked["click"] == 1


def test_an_answered_hover_settles_the_earlier_ones_without_latency() -> None:
    account = Account()
    for request_id in (1, 2, 3, 4):
        account.ask(request_id, "hover")

    account.mask(3, 10.0)

    assert account.records.latencies_s["hover"] == [7.0]
    assert account.records.superseded["hover"] == 2
    account.mask(4, 10.0)
    assert account.records.latencies_s["hover"] == [7.0, 6.0]


@pytest.mark.parametrize("reply", [Superseded(id=2, by=3), busy(2)])
def test_any_terminal_reply_to_a_hover_settles_the_earlier_ones(reply: ServerMessage) -> None:
    account = Account()
    account.ask(1, "hover")
    account.ask(2, "hover")

    account.hear(reply, 5.0)

    assert not account.ledger.owes
    assert account.records.superseded["hover"] >= 1
    assert account.records.latencies_s["hover"] == []


def test_a_superseded_click_counts_until_the_mask_of_its_successor() -> None:
    account = Account()
    account.ask(1, "click", 7)
    account.ask(2, "refine", 7)
    account.ask(3, "click", 8)

    account.hear(Superseded(id=1, by=2), 3.0)
    account.hear(mask_reply(Segment(id=3, object=8)), 4.0)
    assert account.records.latencies_s["click"] == [1.0]

    account.hear(mask_reply(Segment(id=2, object=7)), 11.0)

    assert account.records.latencies_s["click"] == [1.0, 10.0]
    assert account.records.latencies_s["refine"] == [9.0]
    assert account.records.superseded["click"] == 1


@pytest.mark.parametrize("by", [None, 2])
def test_a_click_that_was_left_behind_with_its_image_counts_no_further(by: int | None) -> None:
    account = Account()
    account.ask(1, "click", 7)
    account.ask(2, "open", -1)

    account.hear(Superseded(id=1, by=by), 3.0)
    account.hear(opened(2), 4.0)

    assert not account.ledger.owes
    assert account.records.latencies_s["click"] == []
    assert account.records.superseded["click"] == 1


def test_a_click_overtaken_by_one_that_was_left_behind_counts_no_further() -> None:
    account = Account()
    account.ask(1)
    account.ask(2)
    account.ask(3, "open", -1)

    account.hear(Superseded(id=1, by=2), 4.0)
    account.hear(Superseded(id=2, by=3), 4.0)
    account.hear(opened(3), 5.0)

    assert not account.ledger.owes


def test_what_is_never_answered_counts_until_the_end() -> None:
    account = Account()
    account.ask(1)
    account.ask(2, "hover")

    assert account.ledger.owes
    account.ledger.end(100.0)

    assert account.records.latencies_s["click"] == [99.0]
    assert account.records.unanswered == {"click": 1, "hover": 1}
    assert not account.ledger.owes


def test_errors_are_counted_by_code_and_end_their_request() -> None:
    account = Account()
    account.ask(1)

    account.hear(busy(1), 2.0)
    account.hear(busy(None), 2.0)

    assert account.records.errors == {"busy": 2}
    assert not account.ledger.owes


def test_a_broken_connection_is_an_error_and_leaves_nothing_to_wait_for() -> None:
    account = Account()
    account.ask(1)

    account.ledger.lose("closed with 1006")

    assert account.records.errors == {"closed with 1006": 1}
    assert not account.ledger.owes
    account.ledger.end(5.0)
    assert account.records.unanswered == {"click": 1}


def test_an_opened_image_is_answered_and_news_of_it_are_not() -> None:
    account = Account()
    account.ask(1, "open", -1)

    account.hear(Send(id=1), 2.0)
    account.hear(opened(1), 5.0)
    account.hear(opened(9), 5.0)

    assert account.records.latencies_s["open"] == [4.0]
