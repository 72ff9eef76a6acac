import pytest

from server.protocol import RleBody
from server.sessions.rate import Manners, TokenBucket
from tests.support.annotators import rules
from tests.support.segments import click, hover

GIVEN = RleBody(size=(50, 100), counts=b"0")


def taken(bucket: TokenBucket, now: float, tries: int = 100) -> int:
    return sum(bucket.take(now) for _ in range(tries))


def test_a_bucket_starts_with_its_burst() -> None:
    assert taken(TokenBucket(1.0, 5.0, now=0.0), 0.0) == 5


def test_a_bucket_refills_at_its_rate_up_to_its_burst() -> None:
    bucket = TokenBucket(2.0, 5.0, now=0.0)
    taken(bucket, 0.0)
    assert taken(bucket, 1.0) == 2
    assert taken(bucket, 1000.0) == 5


def test_parts_of_tokens_add_up() -> None:
    bucket = TokenBucket(1.0, 1.0, now=0.0)
    taken(bucket, 0.0)
    assert [bucket.take(now) for now in (0.25, 0.5, 0.75, 1.0)] == [False, False, False, True]


def test_what_costs_more_than_there_is_takes_nothing() -> None:
    bucket = TokenBucket(1.0, 3.0, now=0.0)
    assert [bucket.take(0.0, cost=2.0) for _ in range(2)] == [True, False]
    assert taken(bucket, 0.0) == 1


def test_what_must_be_left_is_left() -> None:
    bucket = TokenBucket(1.0, 3.0, now=0.0)
    assert [bucket.take(0.0, leave=2.0) for _ in range(2)] == [True, False]
    assert taken(bucket, 0.0) == 2


def test_hovers_leave_half_of_the_burst_to_clicks() -> None:
    manners = Manners(rules(segment_burst=10.0, segments_per_s=1.0), now=0.0)
    assert sum(manners.allow_segment(hover(1), 0.0) for _ in range(100)) == 5
    assert sum(manners.allow_segment(click(1), 0.0) for _ in range(100)) == 5


def test_a_given_mask_counts_as_ten() -> None:
    manners = Manners(rules(segment_burst=60.0, segments_per_s=20.0), now=0.0)
    assert sum(manners.allow_segment(hover(1, prior=GIVEN), 0.0) for _ in range(100)) == 3
    assert sum(manners.allow_segment(click(1, prior=GIVEN), 0.0) for _ in range(100)) == 3
    assert sum(manners.allow_segment(click(1, prior=GIVEN), 1.0) for _ in range(100)) == 2


def test_a_given_mask_of_a_large_image_counts_by_its_pixels() -> None:
    manners = Manners(rules(segments_per_s=200.0, segment_burst=400.0), now=0.0)
    large = RleBody(size=(5000, 8000), counts=b"")
    assert sum(manners.allow_segment(click(1, prior=large), 0.0) for _ in range(100)) == 4
    assert sum(manners.allow_segment(click(1, prior=large), 1.0) for _ in range(100)) == 2


@pytest.mark.parametrize("burst", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("prior", [None, GIVEN], ids=["without a mask", "with a mask"])
def test_a_hover_gets_through_however_small_the_burst(burst: float, prior: RleBody | None) -> None:
    manners = Manners(rules(segment_burst=burst, segments_per_s=1.0), now=0.0)
    assert manners.allow_segment(hover(1, prior=prior), 0.0)
    assert manners.allow_segment(hover(1, prior=prior), burst)


@pytest.mark.parametrize("burst", [1.0, 4.0])
def test_a_given_mask_gets_through_however_small_the_burst(burst: float) -> None:
    manners = Manners(rules(segment_burst=burst, segments_per_s=1.0), now=0.0)
    assert manners.allow_segment(click(1, prior=GIVEN), 0.0)
    assert not manners.allow_segment(click(1), 0.0)
    assert manners.allow_segment(click(1, prior=GIVEN), burst)


def test_messages_and_errors_are_counted_apart() -> None:
    manners = Manners(rules(messages_per_s=3.0, max_errors_per_min=2.0), now=0.0)
    assert sum(manners.allow_message(0.0) for _ in range(100)) == 6
    assert sum(manners.allow_error(0.0) for _ in range(100)) == 2
    assert sum(manners.allow_error(30.0) for _ in range(100)) == 1
