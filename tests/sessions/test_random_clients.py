"""Random clients, valid and invalid, against the session, the queue, the outbox and an engine.

Whatever they do, in whatever order the engine answers: `World` and `Ledger` check every effect and
every reply; here is who does what, and what is left over at the end.
"""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.errors import WireError
from server.protocol import Cancel, Close, Data, Hello, Open, Release
from server.sessions.session import State
from tests.support.annotators import DIGEST
from tests.support.segments import click, result
from tests.support.worlds import Client, OpenOutcome, World

_POINTS = ((1.0, 1.0, 1), (2.0, 2.0, 0), (3.0, 3.0, 1), (1000.0, 1.0, 1))
_PICK = st.sampled_from([0, 0, 0, 1, 2])
_STEP = st.sampled_from([1, 1, 1, 1, 1, 2, 5, 0, -1])  # how far the next id is from the last
_MOVE = st.tuples(
    st.sampled_from(
        ["click", "click", "hover", "hover", "device", "device", "finish", "finish", "cancel"]
    ),
    st.integers(0, 1),
)
_KIND = st.sampled_from(["click", "click", "hover"])
_PRIOR = st.sampled_from(["auto", "auto", "auto", "none", "last", "gone"])


_OUTCOME = st.sampled_from([result(), result(), result(3), WireError("timeout", "too late")])


class RandomClients(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(segment_burst=60.0, segments_per_s=20.0)
        self.connect(greets=True)

    @property
    def clients(self) -> list[Client]:
        return list(self.world.clients.values())

    def client(self, pick: int) -> Client:
        for gone in [client for client in self.clients if client.hung_up]:
            self.world.disconnect(gone)
        if not self.clients:
            self.connect(greets=True)
        return self.clients[pick % len(self.clients)]

    def client_at_an_image(self, pick: int) -> Client:
        client = self.client(pick)
        if client.session.state is State.EMPTY:
            self._open_at_once(client)
        return client

    # Clients

    @rule(greets=st.sampled_from([True] * 9 + [False]))
    @precondition(lambda self: len(self.clients) < 3)
    def connect(self, *, greets: bool) -> None:
        client = self.world.connect()
        if greets:
            self.world.send(client, Hello())

    def _open_at_once(self, client: Client) -> None:
        self.world.send(client, Open(id=client.last_id + 1, size=5))
        self.world.send(client, Data(id=client.last_id or 1, bytes=b"12345"))
        key = (client.session.id, client.last_id)
        if key in self.world.opens:
            self.world.end_open(key, "opened")

    @rule(
        pick=_PICK,
        step=_STEP,
        size=st.integers(1, 35),
        by_digest=st.booleans(),
        prefetch=st.sampled_from([False, False, True]),
    )
    def open(self, pick: int, step: int, size: int, *, by_digest: bool, prefetch: bool) -> None:
        client = self.client(pick)
        digest = DIGEST if by_digest else None
        request_id = max(1, client.last_id + step)
        self.world.send(client, Open(id=request_id, size=size, sha256=digest, prefetch=prefetch))

    @rule(pick=_PICK, back=st.integers(-1, 3), size=st.integers(1, 20))
    def data(self, pick: int, back: int, size: int) -> None:
        client = self.client(pick)
        opens = [key for key, request in client.ledger.asked.items() if isinstance(request, Open)]
        target = opens[-1 - back] if 0 <= back < len(opens) else client.last_id - back
        self.world.send(client, Data(id=max(1, target), bytes=b"x" * size))

    @rule(pick=_PICK, moves=st.lists(_MOVE, min_size=4, max_size=20))
    def annotate(self, pick: int, moves: list[tuple[str, int]]) -> None:
        """What usually goes on: prompts, while the device works."""
        for move, number in moves:
            client = self.client_at_an_image(pick)
            match move:
                case "click" | "hover":
                    fields = {"kind": move, "points": _POINTS[: 1 + client.last_id % 3]}
                    self.world.send(client, click(client.last_id + 1, number, **fields))
                case "cancel":
                    self.world.send(client, Cancel(target=max(1, client.last_id - number)))
                case "finish" if self.world.running:
                    running = self.world.running
                    self.world.finish_decode(running[number % len(running)], result())
                case _:
                    self.world.device_turn()

    @rule(
        pick=_PICK,
        step=_STEP,
        number=st.integers(0, 2),
        kind=_KIND,
        points=st.sampled_from([1, 1, 2, 3, 0, 4]),
        has_box=st.sampled_from([False, False, False, True]),
        prior=_PRIOR,
        candidates=st.sampled_from([False, False, False, True]),
    )
    def segment(
        self,
        pick: int,
        step: int,
        number: int,
        kind: str,
        points: int,
        prior: str,
        *,
        has_box: bool,
        candidates: bool,
    ) -> None:
        client = self.client_at_an_image(pick)
        fields: dict[str, Any] = {"kind": kind, "points": _POINTS[:points]}
        if has_box:
            fields["box"] = (0.0, 0.0, 9.0, 9.0)
        if candidates:
            fields["candidates"] = True
        if prior != "auto":
            named = {"none": None, "last": (max(1, client.last_id), 0), "gone": (1, 2)}
            fields["prior"] = named[prior]
        self.world.send(client, click(max(1, client.last_id + step), number, **fields))

    @rule(pick=_PICK, back=st.integers(0, 4))
    def cancel(self, pick: int, back: int) -> None:
        client = self.client(pick)
        self.world.send(client, Cancel(target=max(1, client.last_id - back)))

    @rule(pick=_PICK, number=st.integers(0, 2))
    def release(self, pick: int, number: int) -> None:
        self.world.send(self.client(pick), Release(object=number))

    @rule(pick=_PICK, step=_STEP)
    def close(self, pick: int, step: int) -> None:
        client = self.client(pick)
        self.world.send(client, Close(id=max(1, client.last_id + step)))

    @rule(pick=_PICK)
    def garbage(self, pick: int) -> None:
        self.world.send_garbage(self.client(pick))

    @rule(pick=_PICK, how_many=st.integers(1, 20))
    def read(self, pick: int, how_many: int) -> None:
        self.world.read(self.client(pick), how_many)

    @rule(pick=_PICK, abruptly=st.booleans())
    @precondition(lambda self: len(self.clients) > 2)
    def leave(self, pick: int, *, abruptly: bool) -> None:
        client = self.client(pick)
        if not abruptly:
            self.world.carry_out(client, client.session.hang_up("idle", "the place was needed"))
        self.world.disconnect(client)

    @rule(pick=_PICK)
    @precondition(lambda self: len(self.clients) > 2)
    def drain(self, pick: int) -> None:
        client = self.client(pick)
        self.world.carry_out(client, client.session.drain(10.0))

    # Engine

    @rule(
        pick=_PICK,
        outcome=st.sampled_from(["opened", "opened", "failed", "missing", "progress"]),
    )
    @precondition(lambda self: self.world.opens)
    def end_open(self, pick: int, outcome: OpenOutcome) -> None:
        keys = list(self.world.opens)
        self.world.end_open(keys[pick % len(keys)], outcome)

    @rule(pick=_PICK)
    @precondition(lambda self: self.world.abandoned)
    def finish_abandoned(self, pick: int) -> None:
        self.world.finish_abandoned(self.world.abandoned[pick % len(self.world.abandoned)])

    @rule()
    def device_turn(self) -> None:
        self.world.device_turn()

    @rule(pick=st.integers(0, 5), outcome=_OUTCOME)
    @precondition(lambda self: self.world.running)
    def finish_decode(self, pick: int, outcome: Any) -> None:
        running = self.world.running
        self.world.finish_decode(running[pick % len(running)], outcome)

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.1, 1.0, 1.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    # What holds

    @invariant()
    def no_more_clicks_wait_than_allowed(self) -> None:
        jobs = [job for job in self.world.jobs.values() if job not in self.world.running]
        for client in self.clients:
            mine = [j for j in jobs if j.session == client.session.id and j.kind == "click"]
            assert len(mine) <= self.world.rules.limits.max_waiting_clicks

    def teardown(self) -> None:
        world = self.world
        self._end_uploads()
        world.wait(2.0)  # refills the rate: late hovers go
        world.settle(result())
        for client in self.clients:
            if not client.hung_up:
                assert client.ledger.owed() == []
            world.disconnect(client)
        for key in list(world.abandoned):
            world.finish_abandoned(key)
        assert world.queue.next() is None
        assert (world.queue.decodes_waiting, world.queue.encodes) == (0, ())
        assert (world.jobs, world.opens, world.pinned, world.budget.used) == ({}, {}, [], 0)

    def _end_uploads(self) -> None:
        """Engine and clients bring every open to its end."""
        for key in list(self.world.opens):
            self.world.end_open(key, "failed")
        for client in self.clients:
            for request in client.ledger.owed():
                if isinstance(request, Open):
                    self.world.send(client, Cancel(target=request.id))


RandomClients.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestRandomClients = RandomClients.TestCase
