from server.protocol import Open, Progress
from server.sessions.opening import REMIND_S, Opening
from server.sessions.uploads import Upload, UploadBudget
from tests.support.annotators import rules


def opening(size: int) -> Opening:
    begun = Opening(Open(id=7, size=size), Upload(size, UploadBudget(10_000), rules()))
    begun.upload.start(0.0)
    return begun


def test_progress_is_news_at_each_twentieth_and_at_the_end() -> None:
    slow = opening(1000)
    told = []
    for _ in range(1000):
        slow.upload.add(b"x", 0.0)
        told.append(slow.news())
    fractions = [fraction for fraction in told if fraction is not None]
    assert 19 <= len(fractions) <= 21
    assert fractions[-1] == 1.0
    assert fractions == sorted(fractions)


def test_where_nothing_is_new_its_client_is_reminded_of_the_upload_now_and_then() -> None:
    quiet = opening(4)
    quiet.upload.add(b"x", 0.0)
    told = [
        quiet.reminder(now) for now in (0.0, REMIND_S - 1, REMIND_S, REMIND_S + 1, 2 * REMIND_S)
    ]
    reminder = Progress(id=7, stage="upload", fraction=0.25)
    assert told == [None, None, reminder, None, reminder]


def test_once_its_bytes_are_there_it_is_reminded_of_what_it_heard_last() -> None:
    whole = opening(1)
    whole.upload.add(b"x", 0.0)
    whole.upload.take_bytes()
    heard = Progress(id=7, stage="encode", fraction=0.5)
    whole.reminder(0.0)
    whole.tell(heard)
    assert whole.reminder(REMIND_S) is None
    assert whole.reminder(2 * REMIND_S) == heard
