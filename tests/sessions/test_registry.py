from dataclasses import dataclass

from server.sessions.registry import LEAST_LOBBY, Admission, Registry


@dataclass(slots=True, eq=False)
class Visitor:
    id: str
    last_active_at: float = 0.0
    at_work: bool = False
    remembered_bytes: int = 0


def admit(
    registry: Registry[Visitor], visitor: Visitor, now: float, *, address: str = ""
) -> Admission[Visitor]:
    """Connect and say hello."""
    entered = registry.enter(visitor, now, address=address)
    if not entered.admitted:
        return entered
    seated = registry.seat(visitor, now)
    if not seated.admitted:
        registry.remove(visitor)
    return Admission(seated.admitted, entered.victims + seated.victims)


def full_of(*visitors: Visitor) -> Registry[Visitor]:
    registry: Registry[Visitor] = Registry(len(visitors))
    for visitor in visitors:
        admit(registry, visitor, 0.0)
    return registry


def test_newcomers_are_admitted_while_there_is_room() -> None:
    registry: Registry[Visitor] = Registry(2)
    visitors = [Visitor("a"), Visitor("b")]
    for visitor in visitors:
        admission = admit(registry, visitor, 0.0)
        assert (admission.admitted, admission.victims) == (True, ())
    assert (len(registry), list(registry)) == (2, visitors)


def test_when_every_place_is_in_use_a_newcomer_is_refused() -> None:
    registry = full_of(Visitor("a"), Visitor("b"))
    admission = admit(registry, Visitor("c"), 29.9)
    assert (admission.admitted, admission.victims, len(registry)) == (False, (), 2)


def test_the_least_recently_used_of_those_idle_makes_room() -> None:
    oldest, older = Visitor("oldest", last_active_at=1.0), Visitor("older", last_active_at=4.0)
    registry = full_of(older, oldest, Visitor("newest", last_active_at=30.0))
    newcomer = Visitor("d", last_active_at=40.0)
    admission = admit(registry, newcomer, 40.0)
    assert (admission.admitted, admission.victims) == (True, (oldest,))
    assert {visitor.id for visitor in registry} == {"older", "newest", "d"}


def test_a_used_session_outlives_one_that_came_later() -> None:
    first, second = Visitor("first"), Visitor("second")
    registry = full_of(first, second)
    first.last_active_at = 60.0
    assert admit(registry, Visitor("c"), 100.0).victims == (second,)


def test_a_session_can_be_spared_after_thirty_seconds_and_not_before() -> None:
    registry = full_of(Visitor("a", last_active_at=10.0))
    assert registry.evict(39.9) is None
    assert registry.evict(40.0) is not None


def test_a_session_at_work_is_never_spared() -> None:
    registry = full_of(Visitor("a", at_work=True))
    assert registry.evict(1e6) is None
    assert not admit(registry, Visitor("b"), 1e6).admitted


def test_a_victim_is_out_at_once_and_not_found_twice() -> None:
    victims = [Visitor("a"), Visitor("b")]
    registry = full_of(*victims)
    assert [registry.evict(100.0) for _ in range(3)] == [*victims, None]
    assert len(registry) == 0
    registry.remove(victims[0])


def test_a_session_that_ended_leaves_its_place() -> None:
    visitor = Visitor("a")
    registry = full_of(visitor)
    registry.remove(visitor)
    registry.remove(visitor)
    assert admit(registry, Visitor("b"), 0.0).admitted


def test_the_logits_of_all_sessions_add_up() -> None:
    registry = full_of(Visitor("a", remembered_bytes=3), Visitor("b", remembered_bytes=4))
    assert registry.remembered_bytes == 7


def test_one_address_gets_no_more_than_its_share() -> None:
    registry: Registry[Visitor] = Registry(10, max_per_address=2)
    for name in "ab":
        admit(registry, Visitor(name), 0.0, address="here")
    admit(registry, Visitor("c"), 0.0, address="there")
    assert not admit(registry, Visitor("d"), 0.0, address="here").admitted
    assert admit(registry, Visitor("e"), 0.0, address="there").admitted


def test_addresses_share_the_places_of_the_server() -> None:
    registry: Registry[Visitor] = Registry(1)
    admit(registry, Visitor("a"), 0.0, address="here")
    assert not admit(registry, Visitor("b"), 0.0, address="there").admitted


def test_an_address_at_its_limit_makes_room_by_its_own_sessions_only() -> None:
    registry: Registry[Visitor] = Registry(10, max_per_address=1)
    admit(registry, Visitor("older", last_active_at=-100.0), 0.0, address="there")
    mine = Visitor("mine")
    admit(registry, mine, 0.0, address="here")
    newcomer = Visitor("newcomer", last_active_at=50.0)
    assert admit(registry, newcomer, 50.0, address="here").victims == (mine,)
    assert not admit(registry, Visitor("next"), 50.0, address="here").admitted


def test_those_who_say_nothing_take_no_place_from_those_who_did() -> None:
    registry = full_of(Visitor("idle"))
    silent = [Visitor(str(number)) for number in range(LEAST_LOBBY)]
    for visitor in silent:
        entered = registry.enter(visitor, 1000.0)
        assert (entered.admitted, entered.victims) == (True, ())
    for visitor in silent:
        entered = registry.enter(Visitor(f"after {visitor.id}"), 1000.0)
        assert (entered.admitted, entered.victims) == (True, (visitor,))
    assert "idle" in {visitor.id for visitor in registry}


def test_an_address_at_its_limit_does_not_make_the_lobby_larger() -> None:
    registry: Registry[Visitor] = Registry(10, max_per_address=1)
    mine = Visitor("mine")
    admit(registry, mine, 0.0, address="here")
    silent = [Visitor(str(number)) for number in range(LEAST_LOBBY)]
    for visitor in silent:
        registry.enter(visitor, 100.0, address=visitor.id)
    newcomer = Visitor("newcomer", last_active_at=100.0)
    assert registry.enter(newcomer, 100.0, address="here").victims == (mine, silent[0])
    assert list(registry) == [*silent[1:], newcomer]


def test_who_says_hello_leaves_the_lobby() -> None:
    registry: Registry[Visitor] = Registry(LEAST_LOBBY + 1)
    for number in range(LEAST_LOBBY + 1):
        assert admit(registry, Visitor(str(number)), 0.0).victims == ()
    assert len(registry) == LEAST_LOBBY + 1


def test_a_large_server_has_a_large_lobby() -> None:
    registry: Registry[Visitor] = Registry(400)
    entered = [registry.enter(Visitor(str(number)), 0.0) for number in range(101)]
    assert [admission.victims == () for admission in entered] == [True] * 100 + [False]
