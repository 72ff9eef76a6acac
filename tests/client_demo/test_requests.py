import pytest

from client_demo.errors import ConnectionLost, SamwireError, Superseded
from client_demo.requests import Reply, Requests
from server.protocol import Done, Error, Segment
from server.protocol import Superseded as SupersededMessage
from tests.support.scripted_server import mask_reply

SIZE = (4, 3)


async def test_ids_grow_from_one() -> None:
    requests = Requests()

    assert [requests.next_id() for _ in range(3)] == [1, 2, 3]


async def test_a_reply_settles_its_request_only() -> None:
    requests = Requests()
    first, second = requests.ask(1), requests.ask(2)

    requests.settle(Done(id=2))

    assert not first.done()
    assert second.result() == Done(id=2)


async def test_a_mask_of_another_size_than_the_image_is_a_fault_of_the_server() -> None:
    requests = Requests()
    upright = requests.ask(1, size=(3, 4))

    requests.settle(mask_reply(Segment(id=1)))

    wrong = upright.exception()
    assert isinstance(wrong, SamwireError)
    assert (wrong.code, wrong.fault) == ("internal", "server")
    assert wrong.message == "the server's mask is 4 x 3, the image 3 x 4"


async def test_an_error_becomes_an_exception() -> None:
    requests = Requests()
    future = requests.ask(1)

    requests.settle(Error(id=1, code="not_open", message="no", fault="client"))

    assert isinstance(future.exception(), SamwireError)


async def test_a_click_that_was_superseded_says_so_and_a_hover_is_none() -> None:
    requests = Requests()
    click, hover = requests.ask(1), requests.ask(2, is_hover=True)

    requests.settle(SupersededMessage(id=1, by=3))
    requests.settle(SupersededMessage(id=2))

    overtaken = click.exception()
    assert isinstance(overtaken, Superseded)
    assert overtaken.by == 3
    assert hover.result() is None


@pytest.mark.parametrize("terminal", ["mask", "error", "superseded"])
async def test_a_terminal_reply_to_a_hover_settles_the_earlier_ones(terminal: str) -> None:
    requests = Requests()
    hovers = [requests.ask(number, size=SIZE, is_hover=True) for number in (1, 2, 3, 4)]
    click = requests.ask(5, size=SIZE)
    replies: dict[str, Reply] = {
        "mask": mask_reply(Segment(id=3)),
        "error": Error(id=3, code="overload", message="", fault="overload"),
        "superseded": SupersededMessage(id=3),
    }

    requests.settle(replies[terminal])

    assert [hover.done() for hover in hovers] == [True, True, True, False]
    assert [hover.result() for hover in hovers[:2]] == [None, None]
    assert not click.done()


async def test_a_reply_to_a_click_settles_no_hover() -> None:
    requests = Requests()
    hover, _ = requests.ask(1, is_hover=True), requests.ask(2, size=SIZE)

    requests.settle(mask_reply(Segment(id=2)))

    assert not hover.done()


async def test_replies_to_nothing_are_no_matter() -> None:
    requests = Requests()

    requests.settle(Done(id=9))
    requests.settle(Error(code="bad_frame", message="", fault="client"))
    requests.abandon(9)


async def test_an_abandoned_request_is_never_settled() -> None:
    requests = Requests()
    future = requests.ask(1)

    requests.abandon(1)
    requests.settle(Done(id=1))

    assert not future.done()


async def test_a_cancelled_waiter_does_not_disturb() -> None:
    requests = Requests()
    requests.ask(1).cancel()

    requests.settle(Done(id=1))


async def test_requests_are_known_by_their_object() -> None:
    requests = Requests()
    requests.ask(1, number=3)
    requests.ask(2, number=4, is_hover=True)
    requests.ask(3, number=3, is_hover=True)
    requests.ask(4)

    assert requests.about(3) == [1, 3]


async def test_hovers_over_one_object_can_be_dropped() -> None:
    requests = Requests()
    one = requests.ask(1, number=1, is_hover=True)
    two = requests.ask(2, number=2, is_hover=True)

    requests.drop_hovers(1)

    assert one.done()
    assert not two.done()


async def test_a_lost_connection_fails_clicks_and_lets_hovers_go() -> None:
    requests = Requests()
    click, hover = requests.ask(1), requests.ask(2, is_hover=True)

    requests.fail(ConnectionLost("gone"))

    assert isinstance(click.exception(), ConnectionLost)
    assert hover.result() is None
    assert requests.about(0) == []
