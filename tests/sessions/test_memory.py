import tracemalloc

import numpy as np
import pytest

from server.engine.types import Prompt
from server.errors import WireError
from server.sessions.memory import Memory
from tests.support.segments import logits, points


def prompt(count: int) -> Prompt:
    return Prompt(points=points(count))


def is_kept(memory: Memory, number: int, click_id: int, index: int = 0) -> bool:
    try:
        memory.find(number, click_id, index)
    except WireError as gone:
        return gone.code != "prior_gone"
    return True


def test_every_candidate_of_a_kept_click_is_found() -> None:
    memory = Memory()
    three = (logits(), logits(), logits())
    memory.add(0, 1, prompt(1), three)
    assert all(memory.find(0, 1, index) is three[index] for index in range(3))
    assert not is_kept(memory, 0, 1, 3)


def test_what_was_never_answered_is_not_found() -> None:
    memory = Memory()
    memory.add(0, 1, prompt(1), (logits(),))
    assert not is_kept(memory, 0, 2)
    assert not is_kept(memory, 1, 1)


def test_it_tells_nearly_all_the_bytes_it_keeps() -> None:
    memory = Memory()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(32):
        points = tuple((number + i + 0.5, number + i + 0.25, 1) for i in range(64))
        memory.add(number, number + 1, Prompt(points), (np.zeros((96, 96), np.float16),))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.9 < memory.nbytes / (after - before) < 1.1


def test_an_object_keeps_its_newest_clicks() -> None:
    memory = Memory(kept_per_object=2)
    for click_id in (1, 2, 3):
        memory.add(0, click_id, prompt(click_id), (logits(),))
    assert [is_kept(memory, 0, click_id) for click_id in (1, 2, 3)] == [False, True, True]


def test_beyond_the_bound_the_oldest_of_all_objects_go_first() -> None:
    memory = Memory(kept_logits=4)
    memory.add(7, 1, prompt(1), (logits(),))
    memory.add(8, 2, prompt(1), (logits(), logits()))
    memory.add(7, 3, prompt(2), (logits(), logits(), logits()))
    assert [is_kept(memory, 7, 1), is_kept(memory, 8, 2), is_kept(memory, 7, 3)] == [
        False,
        False,
        True,
    ]


def test_exactly_the_bound_is_kept() -> None:
    memory = Memory(kept_logits=3)
    for number in range(3):
        memory.add(number, number + 1, prompt(1), (logits(),))
    assert all(is_kept(memory, number, number + 1) for number in range(3))
    memory.add(9, 9, prompt(1), (logits(),))
    assert not is_kept(memory, 0, 1)
    assert is_kept(memory, 1, 2)


def test_the_bytes_are_those_of_the_kept_logits() -> None:
    memory = Memory(kept_per_object=1)
    assert memory.nbytes == 0
    for click_id in (1, 2):
        memory.add(0, click_id, Prompt(box=(0, 0, 5, 5)), (logits(), logits()))
    assert memory.nbytes == 2 * logits().nbytes
    memory.forget(0)
    assert memory.nbytes == 0


def test_forget_concerns_one_object_and_clear_all() -> None:
    memory = Memory()
    memory.add(0, 1, prompt(1), (logits(),))
    memory.add(1, 2, prompt(1), (logits(),))
    memory.forget(0)
    memory.forget(5)
    assert [is_kept(memory, 0, 1), is_kept(memory, 1, 2)] == [False, True]
    memory.clear()
    assert not is_kept(memory, 1, 2)


def test_the_automatic_prior_is_the_best_mask_of_the_newest_proper_subset() -> None:
    memory = Memory()
    first, second = (logits(), logits()), (logits(), logits())
    memory.add(0, 1, prompt(1), (logits(),))
    memory.add(0, 2, prompt(2), first)
    memory.add(0, 3, prompt(2), second)
    memory.add(0, 4, prompt(3), (logits(),))
    click_id, found = memory.automatic(0, prompt(3))
    assert click_id == 3
    assert found is second[0]


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        (prompt(2), prompt(2)),
        (prompt(2), prompt(1)),
        (Prompt(points=points(2)[1:]), prompt(2)),
        (Prompt(points=points(1), box=(0, 0, 5, 5)), prompt(2)),
        (prompt(1), Prompt(points=points(2), box=(0, 0, 5, 5))),
        (prompt(1), Prompt(points=points(1), box=(0, 0, 5, 5))),
    ],
    ids=["same", "superset", "not a prefix", "box gone", "box new", "only the box new"],
)
def test_what_is_not_a_proper_subset_is_no_automatic_prior(earlier: Prompt, now: Prompt) -> None:
    memory = Memory()
    memory.add(0, 1, earlier, (logits(),))
    assert memory.automatic(0, now) == (None, None)


def test_points_added_to_a_box_refine_it() -> None:
    memory = Memory()
    kept = logits()
    memory.add(0, 1, Prompt(box=(0, 0, 5, 5)), (kept,))
    click_id, found = memory.automatic(0, Prompt(points=points(1), box=(0, 0, 5, 5)))
    assert click_id == 1
    assert found is kept


def test_other_objects_are_no_automatic_prior() -> None:
    memory = Memory()
    memory.add(1, 1, prompt(1), (logits(),))
    assert memory.automatic(0, prompt(2)) == (None, None)
