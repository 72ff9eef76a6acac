"""Clients, their sessions, one queue and an engine that answers when told to; and what must hold.

`World` carries out effects as a connection and the engine would, and checks each one on the way.
`Ledger` is what one client knows: what it asked, and what it was told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from server.engine.queue import Batch, DecodeKind, Queue
from server.engine.types import MaskResult
from server.errors import WireError
from server.protocol import (
    ClientMessage,
    Close,
    Done,
    Draining,
    Error,
    MaskReply,
    Open,
    Opened,
    Progress,
    Segment,
    Send,
    ServerMessage,
    Superseded,
    Welcome,
)
from server.sessions.effects import (
    Abandon,
    Effect,
    Fetch,
    Free,
    Hangup,
    Load,
    Reply,
    Submit,
    Withdraw,
)
from server.sessions.outbox import Outbox
from server.sessions.session import Session, State
from server.sessions.uploads import UploadBudget
from tests.support.annotators import DIGEST, TIMINGS, rules
from tests.support.segments import Image

Request = Open | Segment | Close
OpenOutcome = Literal["opened", "failed", "missing", "progress"]


@dataclass(frozen=True, slots=True)
class Job:
    session: str
    ticket: int
    kind: DecodeKind
    object: int


@dataclass(slots=True)
class Ledger:
    """What one client asked, and what it was told; every reply is checked as it is read."""

    asked: dict[int, Request] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    settled_hovers_to: int = 0
    last_of_object: dict[int, int] = field(default_factory=dict)
    draining: bool = False
    """Then the end of the connection answers what hovers there were."""

    def read(self, message: ServerMessage) -> None:
        self.draining = self.draining or isinstance(message, Draining)
        told_to_all = isinstance(message, Welcome | Draining)
        if told_to_all or (isinstance(message, Error) and message.id is None):
            return
        request_id = getattr(message, "id", None)
        assert request_id in self.asked, f"nobody asked for {message}"
        request = self.asked[request_id]
        assert request_id not in self.answered, f"told after its terminal reply: {message}"
        if isinstance(message, Progress | Send):
            assert isinstance(request, Open)
            return
        self._check_kind(request, message)
        self.answered.add(request_id)
        if isinstance(request, Segment):
            self._check_order(request)

    def _check_kind(self, request: Request, message: ServerMessage) -> None:
        if isinstance(message, MaskReply):
            assert isinstance(request, Segment)
            assert message.object == request.object
            assert (message.candidates is not None) == request.candidates
        elif isinstance(message, Opened):
            assert isinstance(request, Open)
            assert not request.prefetch
        elif isinstance(message, Done):
            assert isinstance(request, Close) or (isinstance(request, Open) and request.prefetch)
        else:
            assert isinstance(message, Superseded | Error)

    def _check_order(self, segment: Segment) -> None:
        assert segment.id > self.last_of_object.get(segment.object, 0)
        self.last_of_object[segment.object] = segment.id
        if segment.kind == "hover":
            assert segment.id > self.settled_hovers_to, "a newer hover's reply had settled this one"
            self.settled_hovers_to = segment.id

    def owed(self) -> list[Request]:
        """Requests without terminal reply; of hovers, the last unsettled one."""
        return [
            request
            for request_id, request in self.asked.items()
            if request_id not in self.answered
            and not (_is_hover(request) and (self.draining or request_id < self.last_hover()))
        ]

    def last_hover(self) -> int:
        return max((key for key, request in self.asked.items() if _is_hover(request)), default=0)


@dataclass(slots=True)
class Client:
    session: Session
    ledger: Ledger = field(default_factory=Ledger)
    outbox: Outbox = field(default_factory=lambda: Outbox(20_000))
    last_id: int = 0
    image_since: int = 0
    """The id of the last request that changed which image is open."""
    hung_up: bool = False


class World:
    def __init__(self, **changes: Any) -> None:
        self.now = 0.0
        self.budget = UploadBudget(60)
        self.rules = rules(max_image_bytes=30, max_waiting_clicks=2, kept_logits=5, **changes)
        self.queue: Queue[Job, tuple[str, int]] = Queue(max_batch=2)
        self.clients: dict[str, Client] = {}
        self.opens: dict[tuple[str, int], Literal["fetch", "load"]] = {}
        self.abandoned: list[tuple[str, int]] = []
        self.jobs: dict[tuple[str, int], Job] = {}
        self.running: list[Job] = []
        self.images: list[Image] = []
        self.pinned: list[Image] = []
        self._names = count()

    # What clients do.

    def connect(self) -> Client:
        name = f"s{next(self._names)}"
        client = Client(Session(name, self.rules, self.budget, self.now))
        self.clients[name] = client
        return client

    def send(self, client: Client, message: ClientMessage) -> None:
        greeted = client.session.state not in (State.GREETING, State.ENDED)
        if isinstance(message, Open | Segment | Close) and greeted and message.id > client.last_id:
            client.last_id = message.id
            client.ledger.asked[message.id] = message
            if isinstance(message, Close) or (isinstance(message, Open) and not message.prefetch):
                client.image_since = message.id
        self.carry_out(client, client.session.receive(message, self.now))

    def send_garbage(self, client: Client) -> None:
        error = WireError("bad_frame", "not a map")
        self.carry_out(client, client.session.refuse(error, self.now))

    def read(self, client: Client, how_many: int) -> None:
        for _ in range(how_many):
            message = client.outbox.pop()
            if message is not None:
                client.ledger.read(message)

    def disconnect(self, client: Client) -> None:
        self.carry_out(client, client.session.end())
        name = client.session.id
        del self.clients[name]
        assert not [key for key in self.opens if key[0] == name]
        assert not [key for key in self.jobs if key[0] == name]
        assert client.session.remembered_bytes == 0
        assert not client.session.at_work

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for client in list(self.clients.values()):
            self.carry_out(client, client.session.tick(self.now))

    # What the engine does.

    def end_open(self, key: tuple[str, int], outcome: OpenOutcome) -> None:
        client = self.clients[key[0]]
        if outcome == "progress":
            self.carry_out(client, client.session.on_progress(key[1], "encode", 0.5))
        elif outcome == "missing" and self.opens[key] == "fetch":
            del self.opens[key]
            self.carry_out(client, client.session.on_missing(key[1], self.now))
        else:
            del self.opens[key]
            self.queue.finish_encode(key)
            self._finish_open(key, failed=outcome == "failed")

    def finish_abandoned(self, key: tuple[str, int]) -> None:
        """An open that was over before the engine heard that nobody waits for it."""
        self.abandoned.remove(key)
        if key[0] in self.clients:
            self._finish_open(key, failed=False)

    def _finish_open(self, key: tuple[str, int], *, failed: bool) -> None:
        client = self.clients[key[0]]
        if failed:
            error = WireError("bad_image", "not an image")
            self.carry_out(client, client.session.on_open_failed(key[1], error, self.now))
            return
        image = Image()
        self.images.append(image)
        self.pinned.append(image)
        effects = client.session.on_opened(
            key[1], image, sha256=DIGEST, cached=False, timings=TIMINGS
        )
        self.carry_out(client, effects)

    def device_turn(self) -> None:
        work = self.queue.next()
        if work is not None:
            self.queue.spent(work, 0.01)
        if isinstance(work, Batch):
            for job in work.jobs:
                assert self.jobs[job.session, job.ticket] is job, "a withdrawn decode ran"
                self.running.append(job)
                self.clients[job.session].session.on_started(job.ticket)
        elif work is not None:
            self.end_open(work.encode, "progress")

    def finish_decode(self, job: Job, outcome: MaskResult | WireError) -> None:
        """Withdrawn while it ran, it may still be told: the session must not mind."""
        self.running.remove(job)
        self.jobs.pop((job.session, job.ticket), None)
        client = self.clients.get(job.session)
        if client is not None:
            self.carry_out(client, client.session.on_result(job.ticket, outcome))

    # Effects.

    def carry_out(self, client: Client, effects: Sequence[Effect]) -> None:
        for effect in effects:
            assert not client.hung_up, "after a hang-up there is nothing more to do"
            match effect:
                case Reply(message, hover):
                    self._push(client, message, hover=hover)
                case Submit():
                    self._submit(client, effect)
                case Withdraw(ticket):
                    job = self.jobs.pop((client.session.id, ticket))
                    self.queue.cancel(job.session, job.kind, job)
                case Fetch(id=open_id):
                    self.opens[client.session.id, open_id] = "fetch"
                case Load(id=open_id, prefetch=prefetch):
                    self.opens[client.session.id, open_id] = "load"
                    self.queue.push_encode((client.session.id, open_id), prefetch=prefetch)
                case Abandon(open_id):
                    self._abandon((client.session.id, open_id))
                case Free(image):
                    self.pinned.remove(image)  # type: ignore[arg-type] # raises for another's
                case Hangup():
                    client.hung_up = True

    def _push(self, client: Client, message: ServerMessage, *, hover: bool) -> None:
        if isinstance(message, MaskReply):
            assert message.id > client.image_since, "a mask of an image that is gone"
        client.outbox.push(message, hover=hover)

    def _submit(self, client: Client, submit: Submit) -> None:
        name = client.session.id
        assert submit.image in self.pinned
        segment = client.ledger.asked[submit.ticket]
        assert isinstance(segment, Segment)
        assert segment.kind == submit.kind
        job = Job(name, submit.ticket, submit.kind, segment.object)
        mine = [other for key, other in self.jobs.items() if key[0] == name]
        if submit.kind == "click":
            assert not [o for o in mine if o.kind == "click" and o.object == job.object]
        else:
            assert not [o for o in mine if o.kind == "hover" and o not in self.running]
        self.jobs[name, submit.ticket] = job
        self.queue.push(name, submit.kind, job)

    def _abandon(self, key: tuple[str, int]) -> None:
        self.queue.finish_encode(key)
        if self.opens.pop(key, None) is not None:
            self.abandoned.append(key)

    # The end.

    def settle(self, outcome: MaskResult) -> None:
        """Let the engine do everything it was asked, and the clients read everything."""
        for key in list(self.opens):
            self.end_open(key, "opened")
        while self.queue.decodes_waiting or self.running:
            self.device_turn()
            for job in list(self.running):
                self.finish_decode(job, outcome)
        for client in self.clients.values():
            self.read(client, 10_000)


def _is_hover(request: Request) -> bool:
    return isinstance(request, Segment) and request.kind == "hover"
