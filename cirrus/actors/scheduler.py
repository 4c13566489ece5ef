"""The scheduler of a run: keeps each pool at its wish by invoking workers, and tells what becomes of them.

Policy is in ``cirrus.core.pool``; here are the invoker, the control actor's line, the bus and the meter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import assert_never

from cirrus import events
from cirrus.actors.actor import Actor, Promise, Ref, Request
from cirrus.actors.bus import EventBus
from cirrus.actors.kernel import Kernel
from cirrus.actors.mailbox import Mailbox
from cirrus.cloud.base import Assignment, Exit, Invoker, Role
from cirrus.core import messages, slots
from cirrus.core.cost import Meter
from cirrus.core.ids import WorkerId
from cirrus.core.pool import Counts, Pool
from cirrus.errors import InvokeError, StageFailed, Throttled
from cirrus.wire.tokens import Claims, issue

TICK = 0.1
MARGIN = 100_000  # more leases than a control actor can have granted since it last spoke of one
GRACE = 60.0  # seconds that a token outlives its worker's timeout


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run takes place: what every worker of it is told. ``began`` is the clock's time at the run's start."""

    run_id: str
    epoch: int
    key: bytes = field(repr=False)
    shards: tuple[str, ...]
    store: str
    began: float


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


Heard = messages.ToDriver | Failed | TimePasses | ShardBack


@dataclass(frozen=True, slots=True)
class Open(Request[None]):
    """Begin a pool: ``workers`` of ``role`` for ``stage``; what is heard of it goes to ``listener``."""

    pool: messages.OpenPool
    stage: str
    role: Role
    workers: int
    memory: int
    timeout: float
    listener: Mailbox[Heard]


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


SchedulerMessage = Open | Steer | Scale | Close | Word | Ended | NotInvoked | TimePasses | ShardBack


@dataclass(slots=True)
class _Line:
    """One pool and all that belongs to it."""

    open: Open
    machine: Pool
    closing: Promise[None] | None = None
    seen: set[WorkerId] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)  # units that were finished and are to be done again
    highest: int = 0  # lease that is known of
    steered: dict[type, messages.FromDriver] = field(default_factory=dict)

    def floor(self) -> int:
        """The smallest unit that is not finished."""
        untouched = next(unit for unit in count(self.open.pool.floor) if unit not in self.done)
        return min((untouched, *self.lost))


class Scheduler(Actor[SchedulerMessage]):
    """Owns the pools of a run."""

    def __init__(self, kernel: Kernel, site: Site, invoker: Invoker, bus: EventBus, meter: Meter) -> None:
        self._kernel = kernel
        self._site = site
        self._invoker = invoker
        self._bus = bus
        self._meter = meter
        self._lines: dict[str, _Line] = {}
        self._wishes: dict[str, int] = {}
        self._send: Callable[[messages.FromDriver], object] = lambda _: None
        self._control = ""
        self._me: Ref[SchedulerMessage] | None = None

    def connect(self, orders: Ref[messages.FromDriver]) -> None:
        """Give it the line to the control actor."""
        self._send = orders.tell

    @property
    def counts(self) -> dict[str, Counts]:
        """The wish of each pool and what has become of it, now."""
        return {name: line.machine.counts for name, line in self._lines.items()}

    @property
    def workers(self) -> tuple[tuple[WorkerId, str, float], ...]:
        """Every worker that there may be, with its state and since when."""
        return tuple(worker for line in self._lines.values() for worker in line.machine.workers)

    async def started(self, ref: Ref[SchedulerMessage]) -> None:
        self._me = ref
        self._kernel.task(self._tick(ref), name="scheduler.tick")
        self._kernel.task(self._follow_exits(ref), name="scheduler.exits")

    async def receive(self, message: SchedulerMessage) -> object:  # noqa: C901  one arm a message
        now = self._kernel.clock.monotonic()
        match message:
            case Open():
                self._open(now, message)
            case Steer(words):
                self._steer(words)
            case Scale(name, workers):
                self._scale(now, name, workers)
            case Close(name):
                return self._close(now, name)
            case Word(words):
                self._word(now, words)
            case Ended(gone):
                self._ended(now, gone)
            case NotInvoked(worker, kind, reason):
                self._not_invoked(now, worker, kind, reason)
            case TimePasses():
                for line in tuple(self._lines.values()):
                    self._decide(line, slots.Tick(now))
                    line.open.listener.put_nowait(message)
            case ShardBack():
                for line in self._lines.values():
                    line.open.listener.put_nowait(message)
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

    def _open(self, now: float, message: Open) -> None:
        line = _Line(message, Pool(message.pool.pool, slots.PoolPolicy()), highest=message.pool.first)
        self._lines[message.pool.pool] = line
        self._send(message.pool)
        self._decide(line, slots.Scaled(now, self._wishes.get(message.pool.pool, message.workers)))

    def _scale(self, now: float, name: str, workers: int) -> None:
        self._wishes[name] = workers  # the pool may open later, or be over
        if name in self._lines:
            self._decide(self._lines[name], slots.Scaled(now, workers))

    def _close(self, now: float, name: str) -> Promise[None]:
        promise: Promise[None] = Promise()
        line = self._lines.get(name)
        if line is None:
            promise.keep(None)
            return promise
        line.closing = promise
        self._decide(line, slots.Closed(now))
        return promise

    def _steer(self, words: messages.Limit | messages.Allow | messages.Reopen) -> None:
        line = self._lines.get(words.pool)
        if line is None:
            return
        if isinstance(words, messages.Reopen):
            line.lost |= set(words.units)
        else:
            line.steered[type(words)] = words
        self._send(words)

    def _greeted(self, now: float, name: str) -> None:
        """Say again what counts: all of it to a control actor that knows nothing, else what may have been missed."""
        fresh, self._control = name != self._control, name
        for line in tuple(self._lines.values()):
            if fresh:
                first = line.highest + MARGIN
                self._send(replace(line.open.pool, first=first, floor=line.floor()))
            for words in line.steered.values():
                self._send(words)
            for worker, state, _ in line.machine.workers:
                if state == "requested" or not fresh:
                    self._send(messages.Expect(worker))
                else:
                    self._decide(line, slots.Left(now, worker, "lost", "shard 0, where it had its leases, died"))

    def _word(self, now: float, words: messages.ToDriver) -> None:
        if isinstance(words, messages.Greeting):
            self._greeted(now, words.name)
            return
        pool = words.worker.pool if isinstance(words, messages.WorkerSeen | messages.WorkerLeft) else words.pool
        line = self._lines.get(pool)
        if line is None:
            return
        match words:
            case messages.WorkerSeen(worker, pid):
                self._tell_seen(line, worker, pid)
                self._decide(line, slots.Seen(now, worker))
            case messages.WorkerLeft(worker, kind, detail):
                if kind in ("drained", "idle"):
                    self._publish(
                        events.WorkerStopped(
                            at=self._at(), stage=pool, slot=worker.slot, attempt=worker.attempt, reason=detail or kind
                        )
                    )
                self._decide(line, slots.Left(now, worker, kind, detail))
            case messages.UnitDone(unit=unit, lease=lease):
                line.done.add(unit)
                line.lost.discard(unit)
                line.highest = max(line.highest, lease)
            case _:
                pass
        line.open.listener.put_nowait(words)

    def _tell_seen(self, line: _Line, worker: WorkerId, pid: int) -> None:
        if worker not in line.seen:
            line.seen.add(worker)
            self._publish(
                events.WorkerStarted(
                    at=self._at(), stage=worker.pool, slot=worker.slot, attempt=worker.attempt, pid=pid
                )
            )

    def _ended(self, now: float, gone: Exit) -> None:
        self._meter.ended(now, gone.worker)
        line = self._lines.get(gone.worker.pool)
        if line is not None:
            line.seen.discard(gone.worker)
            self._decide(line, slots.Exited(now, gone.worker, gone.cause, gone.detail))

    def _not_invoked(self, now: float, worker: WorkerId, kind: slots.Refusal, reason: str) -> None:
        self._meter.ended(now, worker)
        self._publish(
            events.InvokeFailed(
                at=self._at(), stage=worker.pool, slot=worker.slot, attempt=worker.attempt, reason=reason
            )
        )
        line = self._lines.get(worker.pool)
        if line is not None:
            self._decide(line, slots.InvokeFailed(now, worker, kind, reason))

    def _decide(self, line: _Line, event: slots.Event) -> None:
        for command in line.machine.handle(event):
            self._do(line, command)
        if line.closing is not None and line.machine.idle:
            name = line.machine.name
            self._send(messages.ClosePool(name))
            self._lines.pop(name, None)
            line.closing.keep(None)

    def _do(self, line: _Line, command: slots.Command) -> None:
        match command:
            case slots.Invoke(worker, reason):
                self._invoke(line, worker, reason)
            case slots.Fence(worker):
                self._send(messages.Fence(worker, "another attempt fills this slot"))
            case slots.Drain(worker):
                self._send(messages.Drain(worker, "the pool is getting smaller"))
            case slots.Stop(worker):
                self._kernel.task(self._invoker.stop(worker), name="scheduler.stop")
            case slots.GiveUp(reason, evidence):
                line.open.listener.put_nowait(Failed(StageFailed(line.open.stage, reason, evidence)))
            case _:
                assert_never(command)

    def _invoke(self, line: _Line, worker: WorkerId, reason: str) -> None:
        opened, now = line.open, self._kernel.clock.monotonic()
        if reason:
            self._publish(
                events.WorkerReplaced(
                    at=self._at(), stage=worker.pool, slot=worker.slot, attempt=worker.attempt, reason=reason
                )
            )
        self._send(messages.Expect(worker))
        self._meter.started(now, worker, opened.memory, opened.timeout)
        site = self._site
        claims = Claims(
            run=site.run_id, epoch=site.epoch, role="worker", pool=worker.pool, slot=worker.slot,
            attempt=worker.attempt, expiry=self._kernel.clock.wall() + opened.timeout + GRACE,
        )
        assignment = Assignment(
            run_id=site.run_id, epoch=site.epoch, worker=worker, role=opened.role, shards=site.shards, store=site.store,
            token=issue(site.key, claims), memory=opened.memory, timeout=opened.timeout,
        )
        self._kernel.task(self._invoke_worker(assignment), name="scheduler.invoke")

    async def _invoke_worker(self, assignment: Assignment) -> None:
        assert self._me is not None
        try:
            await self._invoker.invoke(assignment)
        except InvokeError as error:
            kind: slots.Refusal = "throttled" if isinstance(error, Throttled) else "refused"
            await self._me.send(NotInvoked(assignment.worker, kind, str(error)))

    def _publish(self, event: events.Event) -> None:
        self._bus.publish(event)

    def _at(self) -> float:
        return self._kernel.clock.monotonic() - self._site.began
