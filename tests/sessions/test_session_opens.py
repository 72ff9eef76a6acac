from collections.abc import Callable

import pytest

from server.errors import WireError
from server.protocol import (
    Progress,
    Send,
)
from server.sessions.effects import Abandon, Effect, Fetch, Free, Load, Reply
from server.sessions.session import State
from server.sessions.uploads import Upload, UploadBudget
from tests.support.annotators import (
    DIGEST,
    Annotator,
    at_an_image,
    greeted,
    opening,
)
from tests.support.segments import (
    Image,
    of,
    only_error,
    replies,
    submitted,
    told,
)

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


def test_a_slow_upload_is_told_of_every_15_seconds_even_where_it_grew_too_little_to_tell() -> None:
    annotator = greeted(upload_timeout_s=1000.0, min_upload_bytes_per_s=0.01)
    annotator.open(size=1000)
    assert annotator.waits(1) == []
    annotator.data(20)
    assert annotator.waits(14) == []
    assert replies(annotator.waits(1)) == [Progress(id=1, stage="upload", fraction=0.02)]
    assert annotator.waits(14) == []
    assert replies(annotator.waits(1)) == [Progress(id=1, stage="upload", fraction=0.02)]


def test_who_waits_long_for_the_encoder_is_told_again_until_something_is_new() -> None:
    annotator = opening()
    annotator.session.on_progress(1, "waiting", 0.0, ahead=2)
    waiting = Progress(id=1, stage="waiting", fraction=0.0, ahead=2)
    assert [replies(annotator.waits(s)) for s in (1, 15, 14, 1)] == [[], [waiting], [], [waiting]]
    annotator.session.on_progress(1, "encode", 0.5)
    assert [replies(annotator.waits(s)) for s in (1, 14)] == [[], []]
    annotator.opened(Image())
    assert annotator.waits(20) == []


def test_an_open_of_which_nothing_is_known_yet_is_not_told_of() -> None:
    annotator = greeted()
    annotator.open(size=10, sha256=DIGEST)
    assert [annotator.waits(s) for s in (1, 15)] == [[], []]


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
    assert of(Abandon, drops) == []
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


@pytest.mark.parametrize("short_of", ["add", "take_bytes"])
def test_an_image_there_is_no_memory_for_ends_its_open_and_not_the_connection(
    short_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise WireError("overload", "there is no memory", retry_after=1.0)

    annotator = greeted()
    annotator.open(size=10)
    with monkeypatch.context() as patched:
        patched.setattr(Upload, short_of, fails)
        assert told(annotator.data(10)) == [("error", 1, "overload")]
    assert (annotator.budget.used, annotator.session.state) == (0, State.EMPTY)
    assert annotator.open(size=5) == []


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
