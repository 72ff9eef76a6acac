import pytest

from server.engine.cache import Cache, Entry
from server.engine.models.base import Embedding


def embedding(nbytes: int = 10) -> Embedding:
    return Embedding(features=None, width=4, height=3, nbytes=nbytes)


def put_unused(cache: Cache[str], *keys: str) -> None:
    for key in keys:
        cache.unpin(cache.put(key, embedding()))


def held(cache: Cache[str], *keys: str) -> str:
    """Which of the keys are there, without using them."""
    return "".join(key for key in keys if key in cache._entries)


def test_what_was_put_is_found() -> None:
    cache: Cache[str] = Cache(100)
    entry = cache.put("a", embedding(7))

    assert cache.pin("a") is entry
    assert (len(cache), cache.nbytes, entry.pins) == (1, 7, 2)


def test_what_was_not_put_is_not_found() -> None:
    assert Cache[str](100).pin("a") is None


def test_the_budget_is_filled_to_the_byte_and_not_beyond() -> None:
    cache: Cache[str] = Cache(30)

    put_unused(cache, "a", "b", "c")
    assert (len(cache), cache.nbytes) == (3, 30)

    cache.unpin(cache.put("d", embedding(1)))
    assert (held(cache, *"abcd"), cache.nbytes) == ("bcd", 21)


def test_a_used_entry_outlives_an_idle_one() -> None:
    cache: Cache[str] = Cache(30)
    put_unused(cache, "a", "b", "c")

    used = cache.pin("a")
    assert used is not None
    cache.unpin(used)
    put_unused(cache, "d")

    assert held(cache, *"abcd") == "acd"


def test_it_is_the_end_of_a_use_that_counts() -> None:
    cache: Cache[str] = Cache(30)
    long = cache.put("a", embedding())
    put_unused(cache, "b", "c")

    cache.unpin(long)
    put_unused(cache, "d")

    assert held(cache, *"abcd") == "acd"


def test_an_entry_in_use_is_never_evicted() -> None:
    cache: Cache[str] = Cache(20)
    pinned = [cache.put(key, embedding()) for key in "abc"]

    assert not cache.shrink()
    assert cache.evict_unused() == 0
    assert held(cache, *"abc") == "abc"

    cache.unpin(pinned[1])
    assert held(cache, *"abc") == "ac"


def test_a_use_counts_as_often_as_it_was_begun() -> None:
    cache: Cache[str] = Cache(0)
    entry = cache.put("a", embedding())
    cache.pin("a")

    cache.unpin(entry)
    assert held(cache, "a") == "a"

    cache.unpin(entry)
    assert held(cache, "a") == ""


def test_a_budget_of_nothing_keeps_what_is_used_and_nothing_else() -> None:
    cache: Cache[str] = Cache(0)
    entry = cache.put("a", embedding())
    assert len(cache) == 1

    cache.unpin(entry)

    assert (len(cache), cache.nbytes) == (0, 0)


def test_logits_take_room_from_embeddings() -> None:
    cache: Cache[str] = Cache(30)
    put_unused(cache, "a", "b", "c")

    cache.other_bytes = 10
    assert cache.shrink()
    assert held(cache, *"abc") == "bc"

    cache.other_bytes = 31
    assert not cache.shrink()
    assert len(cache) == 0


def test_evicting_the_unused_says_how_much_came_free() -> None:
    cache: Cache[str] = Cache(100)
    put_unused(cache, "a", "b")
    cache.put("c", embedding())

    assert cache.evict_unused() == 20
    assert (held(cache, *"abc"), cache.nbytes) == ("c", 10)


def test_two_embeddings_of_one_key_are_a_mistake() -> None:
    cache: Cache[str] = Cache(100)
    cache.put("a", embedding())

    with pytest.raises(KeyError):
        cache.put("a", embedding())


def test_ending_a_use_twice_is_a_mistake() -> None:
    cache: Cache[str] = Cache(100)
    entry: Entry[str] = cache.put("a", embedding())
    cache.unpin(entry)

    with pytest.raises(ValueError, match="not in use"):
        cache.unpin(entry)
    assert (entry.pins, cache.evict_unused()) == (0, 10)


def test_uses_and_makings_are_counted() -> None:
    cache: Cache[str] = Cache(100)
    cache.pin("a")
    put_unused(cache, "a")
    cache.pin("a")
    cache.pin("a")

    assert (cache.hits, cache.misses) == (2, 1)
