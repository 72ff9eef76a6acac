from collections.abc import Callable

import pytest

from server.engine.types import MaskResult
from server.errors import ERRORS, WireError
from server.protocol import (
    Cancel,
    ClientMessage,
    Close,
    Data,
    Error,
    FrameError,
    Open,
    Opened,
    Progress,
    Release,
    Send,
    Welcome,
)
from server.sessions.effects import Abandon, Effect, Fetch, Free, Hangup, Load, Reply, Submit
from server.sessions.session import State
from server.sessions.uploads import UploadBudget
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
    of,
    only_error,
    replies,
    result,
    submitted,
    told,
    withdrawn,
)


def close_code(effects: list[Effect]) -> int | None:
    """That of the one hang-up, which comes last: the writer sends nothing after it."""
    (hangup,) = of(Hangup, effects)
    assert effects[-1] is hangup
    return ERRORS[hangup.error].close_code


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


# Bytes: sha256, data


def test_without_a_digest_the_bytes_come_at_once() -> None:
    annotator = greeted()
    assert annotator.open(size=10) == []
    annotator.data(6)
    assert of(Load, annotator.data(4)) == [Load(1, b"x" * 10, None, prefetch=False)]


def test_with_a_digest_the_server_looks_first_and_asks_when_it_has_nothing() -> None:
    annotator = greeted()
    assert annotator.open(size=10, sha256=DIGEST) == [Fetch(1, DIGEST, prefetch=False)]
    assert annotator.missing() == [Reply(Send(id=1))]
    assert of(Load, annotator.data(10)) == [Load(1, b"x" * 10, DIGEST, prefetch=False)]


def test_with_a_digest_data_before_it_is_asked_for_is_an_error_and_the_open_goes_on() -> None:
    annotator = greeted()
    annotator.open(size=10, sha256=DIGEST)
    assert told(annotator.data(10)) == [("error", None, "bad_data")]
    assert told(annotator.opened(Image(), cached=True)) == [("opened", 1)]


def test_a_cached_image_takes_no_room_for_bytes() -> None:
    annotator = greeted()
    annotator.open(size=900, sha256=DIGEST)
    assert annotator.budget.used == 0
    assert told(annotator.opened(Image(), cached=True)) == [("opened", 1)]


def test_clicks_may_go_between_chunks() -> None:
    annotator = greeted()
    annotator.open(size=10)
    annotator.data(5)
    annotator.click()
    assert of(Load, annotator.data(5, to=1))


def test_upload_progress_is_told() -> None:
    annotator = greeted()
    annotator.open(size=10)
    assert replies(annotator.data(5)) == [Progress(id=1, stage="upload", fraction=0.5)]


def test_more_data_than_announced_ends_the_open() -> None:
    annotator = greeted()
    annotator.open(size=10)
    annotator.click()
    effects = annotator.data(11, to=1)
    assert told(effects) == [("error", 1, "bad_data"), ("error", 2, "not_open")]
    assert of(Abandon, effects) == [Abandon(1)]


def test_data_after_the_last_byte_is_an_error_and_the_open_goes_on() -> None:
    annotator = opening()
    assert told(annotator.data(1)) == [("error", None, "bad_data")]
    assert told(annotator.opened(Image())) == [("opened", 1)]


@pytest.mark.parametrize("end", ["opened", "failed", "superseded"])
def test_data_that_crossed_the_end_of_its_open_is_ignored(end: str) -> None:
    annotator = opening()
    if end == "opened":
        annotator.opened(Image())
    elif end == "failed":
        annotator.fails_to_open()
    else:
        annotator.open()
    assert annotator.data(5, to=1) == []


def test_data_for_an_open_that_never_was_is_an_error_without_id() -> None:
    annotator = at_an_image()
    effects = annotator.data(5, to=9)
    assert told(effects) == [("error", None, "bad_data")]
    assert only_error(effects).field == "id"


def test_an_image_beyond_the_limit_is_refused_and_the_old_one_is_gone() -> None:
    image = Image()
    annotator = at_an_image(image)
    effects = annotator.open(size=1001)
    assert of(Free, effects) == [Free(image)]
    assert told(effects) == [("error", 2, "image_too_large")]
    assert annotator.session.state is State.EMPTY


def test_an_upload_that_stops_coming_ends_its_open_only() -> None:
    annotator = greeted(upload_timeout_s=30.0)
    annotator.open(size=100)
    annotator.waits(5.0)
    annotator.data(90)
    assert annotator.waits(29.9) == []
    effects = annotator.waits(0.1)
    assert told(effects) == [("error", 1, "upload_stalled")]
    assert of(Abandon, effects) == [Abandon(1)]
    assert annotator.session.state is State.EMPTY


def test_an_upload_that_only_drips_ends() -> None:
    annotator = greeted(upload_timeout_s=30.0, min_upload_bytes_per_s=10.0)
    annotator.open(size=100)
    drops: list[Effect] = []
    for _ in range(3):
        annotator.data(1)
        drops += annotator.waits(10.0)
    assert drops == []
    annotator.data(1)
    assert told(annotator.waits(0.4)) == [("error", 1, "upload_stalled")]


def test_an_image_whose_bytes_are_all_there_never_stalls() -> None:
    assert opening().waits(1e6) == []


def test_uploads_of_all_sessions_share_one_budget() -> None:
    budget = UploadBudget(1500)
    first, second = greeted(budget=budget), greeted(budget=budget)
    first.open(size=1000)
    effects = second.open(size=501)
    assert told(effects) == [("error", 1, "overload")]
    assert only_error(effects).retry_after == 1.0
    assert second.session.state is State.EMPTY
    assert second.open(size=500) == []


def test_an_open_without_room_for_its_bytes_still_lets_the_old_image_go() -> None:
    image = Image()
    annotator = at_an_image(image)
    annotator.click()
    annotator.budget.take(9_500)
    effects = annotator.open(size=600)
    assert told(effects) == [("superseded", 2, 3), ("error", 3, "overload")]
    assert of(Free, effects) == [Free(image)]


def test_an_open_by_digest_without_room_for_its_bytes_is_not_asked_to_send() -> None:
    annotator = greeted(budget=UploadBudget(5))
    annotator.open(size=10, sha256=DIGEST)
    assert told(annotator.missing()) == [("error", 1, "overload")]


@pytest.mark.parametrize(
    "end",
    [
        lambda annotator: annotator.opened(Image()),
        Annotator.fails_to_open,
        Annotator.open,
        Annotator.close,
        lambda annotator: annotator.cancel(1),
        lambda annotator: annotator.session.end(),
        lambda annotator: annotator.session.hang_up("idle", "bye"),
    ],
    ids=["opened", "failed", "new open", "close", "cancel", "end", "hang up"],
)
def test_the_room_of_an_upload_comes_back_however_it_ends(
    end: Callable[[Annotator], list[Effect]],
) -> None:
    annotator = greeted()
    annotator.open(size=100)
    annotator.data(100)
    assert annotator.budget.used == 100
    end(annotator)
    assert annotator.budget.used in {0, 10}  # 10: the new open's own


# Prefetch


def test_a_prefetch_changes_neither_the_state_nor_the_image() -> None:
    annotator = at_an_image()
    annotator.click()
    assert annotator.open(size=10, prefetch=True) == []
    assert of(Load, annotator.data(10)) == [Load(3, b"x" * 10, None, prefetch=True)]
    assert annotator.session.state is State.OPEN
    assert told(annotator.answers(2)) == [("mask", 2)]


def test_a_prefetched_image_is_done_and_not_kept() -> None:
    annotator = greeted()
    annotator.open(prefetch=True)
    annotator.data(10)
    image = Image()
    effects = annotator.opened(image)
    assert told(effects) == [("done", 1)]
    assert of(Free, effects) == [Free(image)]
    assert annotator.session.state is State.EMPTY


def test_a_prefetch_by_digest_looks_first() -> None:
    assert greeted().open(sha256=DIGEST, prefetch=True) == [Fetch(1, DIGEST, prefetch=True)]


def test_a_newer_prefetch_supersedes_an_unfinished_one() -> None:
    annotator = greeted()
    annotator.open(prefetch=True)
    effects = annotator.open(prefetch=True)
    assert told(effects) == [("superseded", 1, 2)]
    assert of(Abandon, effects) == [Abandon(1)]


def test_a_prefetch_outlives_an_open_and_a_close() -> None:
    annotator = greeted()
    annotator.open(prefetch=True)
    assert annotator.open() == []
    annotator.close()
    annotator.data(10, to=1)
    assert told(annotator.opened(Image(), to=1)) == [("done", 1)]


def test_a_failed_prefetch_leaves_the_rest_alone() -> None:
    annotator = opening()
    annotator.click()
    annotator.open(prefetch=True)
    assert told(annotator.fails_to_open()) == [("error", 3, "bad_image")]
    assert submitted(annotator.opened(Image(), to=1)) == [2]


def test_a_prefetch_can_be_cancelled() -> None:
    annotator = at_an_image()
    annotator.open(prefetch=True)
    effects = annotator.cancel(2)
    assert told(effects) == [("superseded", 2, None)]
    assert of(Abandon, effects) == [Abandon(2)]
    assert annotator.session.state is State.OPEN


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


# Errors, rate


@pytest.mark.parametrize(("code", "expected"), [("text_frame", 1003), ("frame_too_big", 1009)])
def test_a_frame_that_must_not_be_ends_the_connection(code: str, expected: int) -> None:
    annotator = at_an_image()
    error = FrameError(WireError(code, "no"), None)
    assert close_code(annotator.session.refuse(error, annotator.now)) == expected


def refuse_often(annotator: Annotator, times: int) -> list[Effect]:
    error = WireError("bad_frame", "no")
    return [e for _ in range(times) for e in annotator.session.refuse(error, annotator.now)]


def test_frames_in_error_are_put_up_with_for_a_while() -> None:
    annotator = at_an_image(max_errors_per_min=60.0)
    assert len(of(Error, replies(refuse_often(annotator, 60)))) == 60
    annotator.waits(2.0)
    assert len(of(Error, replies(refuse_often(annotator, 2)))) == 2
    assert close_code(refuse_often(annotator, 1)) == 4008


def test_clicks_in_error_are_put_up_with_for_a_while() -> None:
    annotator = at_an_image(max_errors_per_min=2.0)
    for _ in range(2):
        assert only_error(annotator.click(points=())).code == "no_positive_prompt"
    assert close_code(annotator.click(points=())) == 4008


def test_hovers_in_error_are_not_held_against_a_pointer_that_leaves_the_picture() -> None:
    annotator = at_an_image(max_errors_per_min=1.0)
    for _ in range(20):
        assert only_error(annotator.hover(points=((500, 500, 1),))).code == "bad_field"


def test_a_click_over_the_rate_is_refused_in_its_turn_and_later_ones_are_not() -> None:
    annotator = at_an_image(segments_per_s=10.0, segment_burst=2.0)
    annotator.click(0)
    annotator.click(1)
    effects = annotator.click(2)
    assert told(effects) == [("error", 4, "rate_limited")]
    assert only_error(effects).retry_after == 1.0
    annotator.now += 0.1
    assert submitted(annotator.click(2)) == [5]


def test_a_refusal_over_the_rate_does_not_overtake_earlier_replies_of_its_object() -> None:
    annotator = at_an_image(segment_burst=1.0)
    annotator.click()
    assert annotator.click() == []
    assert told(annotator.answers(2)) == [("mask", 2), ("error", 3, "rate_limited")]


def test_clicks_that_stay_over_the_rate_end_the_connection() -> None:
    annotator = at_an_image(segment_burst=1.0, max_errors_per_min=3.0)
    annotator.click(0)
    for number in range(1, 4):
        assert only_error(annotator.click(number)).code == "rate_limited"
    assert close_code(annotator.click(4)) == 4008


def at_the_hover_rate() -> Annotator:
    """Hovers get half of the burst of 4: the next one is over the rate."""
    annotator = at_an_image(segment_burst=4.0, segments_per_s=10.0)
    for expected in (2, 3):
        assert submitted(annotator.hover()) == [expected]
        annotator.session.on_started(expected)
    return annotator


def test_hovers_over_the_rate_are_passed_over_in_silence_but_the_last_is_answered() -> None:
    annotator = at_the_hover_rate()
    for _ in range(50):
        assert annotator.hover() == []
    assert annotator.session.hover_is_late
    assert submitted(annotator.waits(0.1)) == [53]
    assert not annotator.session.hover_is_late
    assert annotator.waits(10.0) == []


def test_hovers_leave_room_in_the_rate_for_clicks() -> None:
    annotator = at_the_hover_rate()
    annotator.hover()
    assert submitted(annotator.click(1)) == [5]


def test_a_late_hover_waits_while_clicks_use_up_the_rate() -> None:
    annotator = at_the_hover_rate()
    annotator.hover(5)
    annotator.click(1)
    assert annotator.waits(0.1) == []
    assert submitted(annotator.waits(0.1)) == [4]


def test_a_late_hover_in_error_is_told_when_its_turn_comes() -> None:
    annotator = at_the_hover_rate()
    annotator.hover(1, points=())
    assert told(annotator.waits(0.1)) == [("error", 4, "no_positive_prompt")]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (lambda annotator: annotator.click(7), [("superseded", 4, 5)]),
        (lambda annotator: annotator.cancel(4), [("superseded", 4, None)]),
        (lambda annotator: annotator.release(7), [("superseded", 4, None)]),
        (Annotator.open, [("superseded", 4, 5)]),
    ],
    ids=["click of its object", "cancel", "release", "open"],
)
def test_a_late_hover_is_settled_by_what_ends_any_other(
    end: Callable[[Annotator], list[Effect]], expected: list[tuple[object, ...]]
) -> None:
    annotator = at_the_hover_rate()
    annotator.answers(2)
    annotator.answers(3)
    annotator.hover(7)
    assert told(end(annotator)) == expected
    assert not annotator.session.hover_is_late


def test_a_late_hover_of_an_image_that_fails_to_open_is_refused() -> None:
    annotator = opening(segment_burst=2.0)
    annotator.hover()
    annotator.hover()
    assert told(annotator.fails_to_open(to=1)) == [
        ("error", 1, "bad_image"),
        ("error", 3, "not_open"),
    ]


def test_a_flood_of_messages_ends_the_connection() -> None:
    annotator = at_an_image(messages_per_s=10.0)
    effects: list[Effect] = []
    for _ in range(30):
        effects += annotator.cancel(1)
    assert close_code(effects) == 4008


# Idle


def test_a_session_without_messages_for_long_is_idle() -> None:
    annotator = at_an_image(idle_timeout_s=300.0)
    assert annotator.waits(299.9) == []
    annotator.cancel(1)
    assert annotator.waits(299.9) == []
    assert close_code(annotator.waits(0.1)) == 4204


def test_frames_in_error_do_not_keep_a_session_alive() -> None:
    annotator = at_an_image(idle_timeout_s=300.0)
    annotator.waits(200.0)
    refuse_often(annotator, 1)
    assert close_code(annotator.waits(100.0)) == 4204


def test_a_session_is_never_idle_while_opening_nor_for_the_time_that_took() -> None:
    annotator = opening(idle_timeout_s=300.0)
    assert annotator.waits(1000.0) == []
    annotator.opened(Image())
    assert annotator.waits(299.0) == []
    assert close_code(annotator.waits(1.0)) == 4204


def test_a_prefetch_does_not_keep_a_session_alive() -> None:
    annotator = greeted(idle_timeout_s=300.0)
    annotator.open(prefetch=True)
    annotator.data(10)
    assert close_code(annotator.waits(300.0)) == 4204


# The end


def busy_annotator(image: Image) -> Annotator:
    """With an image, a prefetch, a decode that runs and one that waits, and logits remembered."""
    annotator = at_an_image(image)
    annotator.click(1)
    annotator.answers(2)
    annotator.click(1)
    annotator.session.on_started(3)
    annotator.click(2)
    annotator.open(size=10, prefetch=True)
    return annotator


@pytest.mark.parametrize("hangs_up", [False, True])
def test_at_the_end_everything_is_let_go_of_and_nothing_is_answered(hangs_up: bool) -> None:
    image = Image()
    annotator = busy_annotator(image)
    session = annotator.session
    effects = session.hang_up("restarting", "bye") if hangs_up else session.end()
    assert replies(effects) == []
    assert of(Free, effects) == [Free(image)]
    assert sorted(withdrawn(effects)) == [3, 4]
    assert of(Abandon, effects) == [Abandon(5)]
    assert (session.remembered_bytes, annotator.budget.used, session.at_work) == (0, 0, False)
    if hangs_up:
        assert close_code(effects) == 1012


def test_after_the_end_everything_is_ignored() -> None:
    annotator = busy_annotator(Image())
    annotator.session.end()
    assert annotator.hello() == []
    assert annotator.open() == []
    assert annotator.click() == []
    assert refuse_often(annotator, 1) == []
    assert annotator.waits(1e6) == []
    assert annotator.answers(3) == []
    assert annotator.session.end() == []
    assert annotator.session.hang_up("idle", "bye") == []
    late = Image()
    assert annotator.opened(late, to=5) == [Free(late)]


def test_after_a_hang_up_the_connection_that_ends_has_nothing_left_to_free() -> None:
    annotator = busy_annotator(Image())
    annotator.waits(1e6)
    assert annotator.session.end() == []


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
    assert annotator.session.remembered_bytes == sum(logits.nbytes for logits in found.logits)


def test_an_outcome_is_told_once() -> None:
    annotator = at_an_image()
    annotator.click()
    outcomes: list[MaskResult | WireError] = [result(), WireError("timeout", "too late")]
    assert [told(annotator.answers(2, outcome)) for outcome in outcomes] == [[("mask", 2)], []]


def test_a_submit_names_the_open_image() -> None:
    image = Image()
    annotator = at_an_image(image)
    (submit,) = of(Submit, annotator.click())
    assert submit.image is image
