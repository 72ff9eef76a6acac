from collections.abc import Callable

import pytest

from server.errors import WireError
from server.protocol import (
    Cancel,
    ClientMessage,
    Close,
    Data,
    FrameError,
    Open,
    Opened,
    Progress,
    Release,
    RleBody,
    Welcome,
)
from server.sessions.effects import Abandon, Effect, Free, Reply, Submit
from server.sessions.session import State
from tests.support.annotators import (
    DIGEST,
    TIMINGS,
    Annotator,
    at_an_image,
    greeted,
    opening,
    rules,
)
from tests.support.segments import (
    Image,
    click,
    close_code,
    of,
    only_error,
    replies,
    result,
    submitted,
    told,
    withdrawn,
)

# Hello


def test_hello_is_answered_with_what_the_server_is_and_allows() -> None:
    annotator = Annotator()
    (welcome,) = replies(annotator.hello())
    assert isinstance(welcome, Welcome)
    assert (welcome.session, welcome.protocol, welcome.model.name) == ("s-1", "samwire.v1", "fake")
    assert welcome.limits == rules().limits
    assert welcome.features == ("candidates", "prefetch", "prior_rle")


@pytest.mark.parametrize(
    "message",
    [
        Open(id=1, size=1),
        Data(id=1, bytes=b"x"),
        click(1),
        Cancel(target=1),
        Release(object=0),
        Close(id=1),
    ],
    ids=lambda message: str(message.type),
)
def test_anything_before_hello_ends_the_connection(message: ClientMessage) -> None:
    annotator = Annotator()
    assert close_code(annotator.session.receive(message, annotator.now)) == 1002
    assert annotator.hello() == []


def test_a_frame_in_error_before_hello_ends_the_connection() -> None:
    annotator = Annotator()
    error = FrameError(WireError("bad_frame", "expected a map"), None)
    assert close_code(annotator.session.refuse(error, annotator.now)) == 1002


def test_hello_that_does_not_come_in_time_ends_the_connection() -> None:
    annotator = Annotator(hello_timeout_s=5.0)
    assert annotator.waits(4.9) == []
    assert close_code(annotator.waits(0.1)) == 1002


def test_a_wrong_token_ends_the_connection_and_there_is_no_second_guess() -> None:
    annotator = Annotator(tokens=("good", "better"))
    assert close_code(annotator.hello("goo")) == 4001
    assert annotator.hello("good") == []


@pytest.mark.parametrize("token", ["good", "better"])
def test_any_of_the_tokens_is_accepted_and_remembered(token: str) -> None:
    annotator = Annotator(tokens=("good", "better"))
    assert told(annotator.hello(token)) == [("welcome", None)]
    assert annotator.session.token == token


def test_a_token_is_needed_when_there_are_some() -> None:
    assert close_code(Annotator(tokens=("good",)).hello()) == 4001


def test_a_second_hello_is_an_error_and_the_session_lives_on() -> None:
    annotator = at_an_image()
    assert told(annotator.hello()) == [("error", None, "bad_frame")]
    assert submitted(annotator.click()) == [2]


# Ids


@pytest.mark.parametrize("send", [Annotator.open, Annotator.click, Annotator.close])
def test_an_id_that_does_not_grow_is_an_error_without_id_and_changes_nothing(
    send: Callable[[Annotator], list[Effect]],
) -> None:
    annotator = at_an_image()
    annotator.click()
    for spent in (2, 1):
        annotator.last_id = spent - 1
        effects = send(annotator)
        assert told(effects) == [("error", None, "bad_id")]
        assert only_error(effects).field == "id"
        assert len(effects) == 1
    assert annotator.session.state is State.OPEN


def test_ids_may_leave_gaps() -> None:
    annotator = at_an_image()
    annotator.last_id = 2**53 - 2
    assert submitted(annotator.click()) == [2**53 - 1]


def test_the_ids_that_cancel_and_data_name_are_not_new_ones() -> None:
    annotator = at_an_image()
    annotator.cancel(99)
    assert submitted(annotator.click()) == [2]


def test_a_refused_frame_is_answered_under_its_id_and_uses_it_up() -> None:
    annotator = at_an_image()
    error = FrameError(WireError("bad_field", "expected a number", field="points.0"), 7)
    effects = annotator.session.refuse(error, annotator.now)
    assert told(effects) == [("error", 7, "bad_field")]
    assert only_error(effects).field == "points.0"
    annotator.last_id = 6
    assert told(annotator.click()) == [("error", None, "bad_id")]


@pytest.mark.parametrize("request_id", [None, 1])
def test_a_refused_frame_without_a_new_id_is_answered_without_id(request_id: int | None) -> None:
    annotator = at_an_image()
    error = FrameError(WireError("unknown_field", "no such field"), request_id)
    assert told(annotator.session.refuse(error, annotator.now)) == [
        ("error", None, "unknown_field")
    ]
    assert submitted(annotator.click()) == [2]


# States


def test_a_segment_without_an_image_is_refused() -> None:
    assert told(greeted().click()) == [("error", 1, "not_open")]


def test_a_segment_waits_while_the_image_opens() -> None:
    annotator = opening()
    assert annotator.click() == []
    effects = annotator.opened(Image(), to=1)
    assert submitted(effects) == [2]
    assert told(effects) == [("opened", 1)]


def test_opened_tells_the_size_that_coordinates_are_in() -> None:
    (message,) = replies(opening().opened(Image(640, 480), cached=True))
    assert message == Opened(
        id=1, width=640, height=480, sha256=DIGEST, cached=True, timings=TIMINGS
    )


def test_what_waits_for_an_image_that_fails_to_open_is_refused() -> None:
    annotator = opening()
    annotator.click(1)
    annotator.click(2)
    annotator.hover(3)
    assert sorted(told(annotator.fails_to_open(to=1))) == [
        ("error", 1, "bad_image"),
        ("error", 2, "not_open"),
        ("error", 3, "not_open"),
        ("error", 4, "not_open"),
    ]
    assert annotator.session.state is State.EMPTY
    assert told(annotator.click()) == [("error", 5, "not_open")]


def test_a_segment_is_checked_against_the_image_once_that_is_known() -> None:
    annotator = opening()
    annotator.click(1, points=((101, 0, 1),))
    annotator.click(2, points=((100, 50, 1),))
    effects = annotator.opened(Image(100, 50), to=1)
    assert told(effects) == [("opened", 1), ("error", 2, "bad_field")]
    assert submitted(effects) == [3]


def test_an_open_frees_the_image_at_once_and_supersedes_what_waits_and_runs() -> None:
    image = Image()
    annotator = at_an_image(image)
    annotator.click(1)
    annotator.session.on_started(2)
    annotator.click(1)
    annotator.click(2)
    annotator.hover(3)
    effects = annotator.open()
    assert told(effects) == [
        ("superseded", 2, 6),
        ("superseded", 3, 6),
        ("superseded", 4, 6),
        ("superseded", 5, 6),
    ]
    assert of(Free, effects) == [Free(image)]
    assert sorted(withdrawn(effects)) == [2, 4, 5]
    assert annotator.answers(2) == []


def test_an_open_forgets_what_is_known_of_objects() -> None:
    annotator = at_an_image()
    annotator.click()
    annotator.answers(2)
    assert annotator.session.remembered_bytes > 0
    annotator.open()
    assert annotator.session.remembered_bytes == 0


def test_an_open_supersedes_an_unfinished_one_and_what_waited_for_it() -> None:
    annotator = opening()
    annotator.click()
    effects = annotator.open()
    assert told(effects) == [("superseded", 1, 3), ("superseded", 2, 3)]
    assert of(Abandon, effects) == [Abandon(1)]
    assert annotator.session.state is State.OPENING


def test_an_image_that_comes_for_a_superseded_open_is_freed_unseen() -> None:
    annotator = opening()
    annotator.open()
    image = Image()
    assert annotator.opened(image, to=1) == [Free(image)]
    assert annotator.session.state is State.OPENING


def test_the_end_of_a_superseded_open_says_nothing() -> None:
    annotator = opening()
    annotator.open(sha256=DIGEST)
    assert annotator.fails_to_open(to=1) == []
    assert annotator.missing(to=1) == []
    assert annotator.session.on_progress(1, "encode", 0.5) == []


def test_close_frees_the_image_and_the_connection_stays() -> None:
    image = Image()
    annotator = at_an_image(image)
    annotator.click()
    effects = annotator.close()
    assert told(effects) == [("superseded", 2, 3), ("done", 3)]
    assert of(Free, effects) == [Free(image)]
    assert told(annotator.click()) == [("error", 4, "not_open")]
    assert told(annotator.close()) == [("done", 5)]


def test_close_ends_an_unfinished_open() -> None:
    annotator = opening()
    effects = annotator.close()
    assert told(effects) == [("superseded", 1, 2), ("done", 2)]
    assert of(Abandon, effects) == [Abandon(1)]


def test_progress_of_an_open_is_passed_on() -> None:
    annotator = opening()
    effects = annotator.session.on_progress(1, "waiting", 0.0, ahead=3)
    assert effects == [Reply(Progress(id=1, stage="waiting", fraction=0.0, ahead=3))]


# Cancel


def test_a_cancelled_open_is_superseded_and_what_waited_for_it_is_refused() -> None:
    annotator = opening()
    annotator.click()
    effects = annotator.cancel(1)
    assert told(effects) == [("superseded", 1, None), ("error", 2, "not_open")]
    assert of(Abandon, effects) == [Abandon(1)]
    assert annotator.session.state is State.EMPTY


def test_a_cancelled_segment_is_superseded_and_its_result_dropped() -> None:
    annotator = at_an_image()
    annotator.click()
    annotator.session.on_started(2)
    effects = annotator.cancel(2)
    assert told(effects) == [("superseded", 2, None)]
    assert withdrawn(effects) == [2]
    assert annotator.answers(2) == []


def test_notices_are_not_answered() -> None:
    annotator = at_an_image()
    assert annotator.cancel(1) == []
    assert annotator.cancel(12345) == []
    assert annotator.release(7) == []


# What the registry asks


def test_a_session_is_at_work_while_an_image_opens_or_a_mask_is_owed() -> None:
    annotator = greeted()
    working = [annotator.session.at_work]
    annotator.open(size=10)
    working.append(annotator.session.at_work)
    annotator.data(10)
    annotator.opened(Image())
    working.append(annotator.session.at_work)
    annotator.click()
    working.append(annotator.session.at_work)
    annotator.answers(2)
    working.append(annotator.session.at_work)
    annotator.open(prefetch=True)
    working.append(annotator.session.at_work)
    assert working == [False, True, False, True, False, True]


def test_a_session_remembers_when_it_was_last_used_and_how_many_bytes_it_keeps() -> None:
    annotator = at_an_image()
    annotator.now += 5.0
    annotator.click(candidates=True)
    annotator.now += 5.0
    found = result(3)
    annotator.answers(2, found)
    assert annotator.session.last_active_at == 1005.0
    kept = annotator.session.remembered_bytes
    assert kept >= sum(logits.nbytes for logits in found.logits)
    annotator.click(1, prior=RleBody(size=(50, 100), counts=b"0" * 1000))
    assert annotator.session.remembered_bytes == kept + 1000
    annotator.answers(3)
    assert annotator.session.remembered_bytes < kept + 1000


def test_a_submit_names_the_open_image() -> None:
    image = Image()
    annotator = at_an_image(image)
    (submit,) = of(Submit, annotator.click())
    assert submit.image is image
