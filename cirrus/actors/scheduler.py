"""The scheduler of a run: keeps each pool at its wish by invoking workers, and tells what becomes of them.

Policy is in ``cirrus.core.roster``; here are the invoker, the control actor's line, the bus and the meter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from cirrus import events
from cirrus.actors.actor import Actor, Promise, Ref, Request
from cirrus.actors.bus import EventBus
from cirrus.actors.kernel import Kernel
from cirrus.cloud.base import Assignment, Exit, Invoker, Role
from cirrus.core import messages, roster, slots
from cirrus.core.allowance import Allowance
from cirrus.core.billing import Billing
from cirrus.core.cost import Meter
from cirrus.core.ids import WorkerId
from cirrus.core.pool import Counts
from cirrus.core.roster import Roster
from cirrus.core.terms import Terms
from cirrus.errors import InvokeError, OutsideError, StageFailed, Throttled, Unanswered
from cirrus.events import TrialOutcome
from cirrus.wire.tokens import Claims, issue

TICK = 0.1
GRACE = 60.0  # seconds that a token outlives its worker's timeout


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run takes place: what every worker of it is told. ``began`` is the clock's time at the run's start.

    ``dollars``: nobody is invoked who may bring what is billed from now on above it. ``ca``: see ``Assignment``.
    """

    run_id: str
    epoch: int
    key: bytes = field(repr=False)
    shards: tuple[str, ...]
    store: str
    began: float
    policy: slots.PoolPolicy = field(default_factory=slots.PoolPolicy)
    terms: Terms = field(default_factory=Terms)
    dollars: float | None = None
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A pool gave up; the stage cannot go on."""

    error: StageFailed


@dataclass(frozen=True, slots=True)
class TimePasses:
    """A tenth of a second or so has gone by; only the newest counts."""

    latest_key: str = "time"


@dataclass(frozen=True, slots=True)
class ShardBack:
    """A shard was started again from its newest snapshot: what it applied since then is lost."""

    shard: int


@dataclass(frozen=True, slots=True)
class GoOn:
    """A trial that has been compared with others goes on."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """A trial is to end before its time."""

    outcome: TrialOutcome
    reason: str


Told = messages.ToDriver | Failed | TimePasses | ShardBack
Heard = Told | GoOn | Abandon


class Listener(Protocol):
    """Where a stage hears of its pools: it is never full."""

    def put_nowait(self, message: Heard) -> bool: ...


@dataclass(frozen=True, slots=True)
class Open(Request[None]):
    """Begin a pool: ``workers`` of ``role`` for ``stage``; what is heard of it goes to ``listener``."""

    pool: messages.OpenPool
    stage: str
    role: Role
    workers: int
    memory: int
    timeout: float
    listener: Listener


@dataclass(frozen=True, slots=True)
class Steer(Request[None]):
    """Pass this on to the control actor."""

    message: messages.Limit | messages.Allow | messages.Reopen


@dataclass(frozen=True, slots=True)
class Scale(Request[None]):
    """Wish for another number of workers, now or when the pool opens."""

    pool: str
    workers: int


@dataclass(frozen=True, slots=True)
class Close(Request[None]):
    """End a pool; the answer comes when its last worker has left."""

    pool: str


@dataclass(frozen=True, slots=True)
class Word:
    """The control actor says this."""

    message: messages.ToDriver


@dataclass(frozen=True, slots=True)
class Ended:
    """The provider says that a worker has ended."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class NotInvoked:
    """A worker could not be started."""

    worker: WorkerId
    kind: slots.Refusal
    reason: str
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class TooDear:
    """A worker was not asked for, since what it may come to is beyond the budget."""

    worker: WorkerId


SchedulerMessage = Open | Steer | Scale | Close | Word | Ended | NotInvoked | TooDear | TimePasses | ShardBack


class Scheduler(Actor[SchedulerMessage]):
    """Owns the pools of a run.

    ``cover`` returns once it is written down what those who are billed may come to cost: nobody is invoked before.
    """

    def __init__(
        self, kernel: Kernel, site: Site, invoker: Invoker, bus: EventBus, meter: Meter,
        cover: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._kernel = kernel
        self._site = site
        self._invoker = invoker
        self._bus = bus
        self._meter = meter
        self._allowance = Allowance(meter, site.dollars)
        self._billing = Billing(meter, site.terms.ends)
        self._cover = cover
        self._roster = Roster(site.policy)
        self._pools: dict[str, Open] = {}
        self._closing: dict[str, Promise[None]] = {}
        self._seen: set[WorkerId] = set()
        self._memory: dict[str, int] = {}  # by pool, as it was said last
        self._send: Callable[[messages.FromDriver], object] = lambda _: None
        self._me: Ref[SchedulerMessage] | None = None

    def connect(self, orders: Ref[messages.FromDriver]) -> None:
        """Give it the line to the control actor."""
        self._send = orders.tell

    @property
    def counts(self) -> Mapping[str, Counts]:
        """The wish of each pool and what has become of it, now."""
        return self._roster.counts

    @property
    def workers(self) -> tuple[tuple[WorkerId, str, float], ...]:
        """Every worker that there may be, with its state and since when."""
        return self._roster.workers

    @property
    def memory(self) -> int:
        """Bytes that the largest worker occupies, as far as is known."""
        return max(self._memory.values(), default=0)

    @property
    def is_stuck(self) -> bool:
        """Whether work waits for workers that cannot be paid."""
        peopled = {worker.pool for worker, _, _ in self._roster.workers}
        return self._allowance.is_stuck(self._kernel.clock.monotonic(), peopled)

    async def hear_out(self, most: float) -> None:
        """Wait so many seconds at most for workers that were asked for lately, to be sent away: then they are paid.

        Their pools are closed; whoever is not heard of is billed to its timeout.
        """
        clock = self._kernel.clock
        began = clock.monotonic()
        while self._billing.awaits(began - self._site.policy.start_deadline) and clock.monotonic() < began + most:
            await clock.sleep(TICK)

    async def started(self, ref: Ref[SchedulerMessage]) -> None:
        self._me = ref
        self._kernel.task(self._tick(ref), name="scheduler.tick")
        self._kernel.task(self._follow_exits(ref), name="scheduler.exits")

    async def receive(self, message: SchedulerMessage) -> object:  # noqa: C901  one arm a message
        now = self._kernel.clock.monotonic()
        match message:
            case Open():
                self._pools[message.pool.pool] = message
                lifetime = self._site.terms.timeout_of(message.timeout)
                self._decide(roster.Opened(now, message.pool, message.workers, lifetime))
            case Steer(words):
                self._decide(roster.Steered(words))
            case Scale(name, workers):
                self._decide(roster.Wished(now, name, workers))
            case Close(name):
                promise = self._closing[name] = Promise()
                self._allowance.closed(name)
                self._decide(roster.Closing(now, name))
                return promise
            case Word(words):
                self._word(now, words)
            case Ended(gone):
                self._ended(now, gone)
            case NotInvoked():
                self._not_invoked(now, message)
            case TooDear(worker):
                reason = f"the budget of {self._site.dollars:g} dollars has no room"
                self._refused(now, NotInvoked(worker, "throttled", reason))
            case TimePasses():
                self._decide(slots.Tick(now))
                self._tell_all(message)
            case ShardBack():
                self._tell_all(message)
            case _:
                assert_never(message)
        return None

    async def _tick(self, ref: Ref[SchedulerMessage]) -> None:
        while True:
            await self._kernel.clock.sleep(TICK)
            ref.tell(TimePasses())

    async def _follow_exits(self, ref: Ref[SchedulerMessage]) -> None:
        async for gone in self._invoker.exits():
            await ref.send(Ended(gone))

    def _tell_all(self, message: TimePasses | ShardBack) -> None:
        for pool in self._pools.values():
            pool.listener.put_nowait(message)

    def _word(self, now: float, words: messages.ToDriver) -> None:
        match words:
            case messages.WorkerSeen(worker, pid) if worker.pool in self._pools and worker not in self._seen:
                self._seen.add(worker)
                self._bus.publish(
                    events.WorkerStarted(
                        at=self._at(), stage=worker.pool, slot=worker.slot, attempt=worker.attempt, pid=pid
                    )
                )
            case messages.WorkerLeft(worker, ("drained" | "idle") as kind, detail) if worker.pool in self._pools:
                self._bus.publish(
                    events.WorkerStopped(
                        at=self._at(), stage=worker.pool, slot=worker.slot, attempt=worker.attempt,
                        reason=detail or kind,
                    )
                )
            case _:
                pass
        self._billing.heard(now, words)
        if isinstance(words, messages.Pulse) and words.memory:
            self._memory[words.pool] = words.memory
        opened = self._pools.get(messages.pool_of(words))
        if opened is not None:  # it hears why before it hears that the pool has given up
            opened.listener.put_nowait(words)
        self._decide(roster.Heard(now, words))

    def _ended(self, now: float, gone: Exit) -> None:
        self._billing.exited(now, gone.worker, gone.cause, gone.seconds, alone=gone.alone)
        self._seen.discard(gone.worker)
        self._decide(slots.Exited(now, gone.worker, gone.cause, gone.detail))

    def _not_invoked(self, now: float, failed: NotInvoked) -> None:
        if failed.kind != "unreachable":  # else it may run nevertheless
            self._billing.refused(failed.worker)
        self._refused(now, failed)

    def _refused(self, now: float, failed: NotInvoked) -> None:
        worker = failed.worker
        self._bus.publish(
            events.InvokeFailed(
                at=self._at(), stage=worker.pool, slot=worker.slot, attempt=worker.attempt, reason=failed.reason,
                throttled=failed.throttled,
            )
        )  # fmt: skip
        self._decide(slots.InvokeFailed(now, worker, failed.kind, failed.reason))

    def _decide(self, event: roster.RosterEvent) -> None:
        for command in self._roster.handle(event):
            self._do(command)

    def _do(self, command: roster.RosterCommand) -> None:
        match command:
            case roster.Say(message):
                self._send(message)
            case slots.Invoke(worker, reason):
                self._invoke(worker, reason)
            case slots.Stop(worker):
                self._kernel.task(self._invoker.stop(worker), name="scheduler.stop")
            case roster.GaveUp(name, reason, evidence):
                opened = self._pools[name]
                opened.listener.put_nowait(Failed(StageFailed(opened.stage, reason, evidence)))
            case roster.Over(name):
                self._pools.pop(name, None)
                self._memory.pop(name, None)
                self._closing.pop(name).keep(None)
            case _:
                assert_never(command)

    def _invoke(self, worker: WorkerId, reason: str) -> None:
        opened, now = self._pools[worker.pool], self._kernel.clock.monotonic()
        if reason:
            self._bus.publish(
                events.WorkerReplaced(
                    at=self._at(), stage=worker.pool, slot=worker.slot, attempt=worker.attempt, reason=reason
                )
            )
        site, terms = self._site, self._site.terms
        memory, timeout = terms.billed_memory(opened.memory), terms.timeout_of(opened.timeout)
        if not self._allowance.grants(now, worker.pool, self._meter.most(memory, terms.billed_timeout(opened.timeout))):
            assert self._me is not None
            self._me.tell(TooDear(worker))
            return
        self._billing.invoked(now, worker, memory, terms.billed_timeout(opened.timeout))
        claims = Claims(
            run=site.run_id, epoch=site.epoch, role="worker", pool=worker.pool, slot=worker.slot,
            attempt=worker.attempt, expiry=self._kernel.clock.wall() + timeout + GRACE,
        )
        assignment = Assignment(
            run_id=site.run_id, epoch=site.epoch, worker=worker, role=opened.role, shards=site.shards, store=site.store,
            token=issue(site.key, claims), memory=memory, timeout=timeout, ca=site.ca,
        )
        self._kernel.task(self._invoke_worker(assignment), name="scheduler.invoke")

    async def _invoke_worker(self, assignment: Assignment) -> None:
        assert self._me is not None
        try:
            await self._cover()
        except OutsideError as error:
            await self._me.send(NotInvoked(assignment.worker, "throttled", str(error)))
            return
        try:
            await self._invoker.invoke(assignment)
        except InvokeError as error:
            is_throttled = isinstance(error, Throttled)
            await self._me.send(NotInvoked(assignment.worker, _kind(error), str(error), is_throttled))

    def _at(self) -> float:
        return self._kernel.clock.monotonic() - self._site.began


def _kind(error: InvokeError) -> slots.Refusal:
    match error:
        case Throttled():
            return "throttled"
        case Unanswered():
            return "unreachable"
        case _:
            return "refused"
