"""The control actor of a run, in shard 0: it grants leases, takes beats, hands out orders and tells the driver.

Policy is in ``cirrus.core.desk``; here are connections. Workers and the driver come in over WebSockets on ``/control``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from cirrus.actors.actor import Actor, Promise, Request
from cirrus.actors.outbox import Peer
from cirrus.clock import Clock
from cirrus.core.desk import (
    Desk,
    DeskCommand,
    DeskEvent,
    Disconnect,
    Dropped,
    Joined,
    Ordered,
    Part,
    Parted,
    Report,
    Spoke,
    Tell,
    Tick,
)
from cirrus.core.ids import WorkerId
from cirrus.core.messages import (
    Bye,
    FromDriver,
    FromWorker,
    Greeting,
    Hello,
    Order,
    ToDriver,
    Took,
    ToWorker,
    TurnedAway,
    WorkerLeft,
)
from cirrus.core.spoken import Spoken
from cirrus.wire.codec import LARGEST, Codec

FROM_WORKER: Codec[FromWorker] = Codec(FromWorker)
TO_WORKER: Codec[ToWorker] = Codec(ToWorker)
FROM_DRIVER: Codec[FromDriver] = Codec(FromDriver)
TO_DRIVER: Codec[ToDriver] = Codec(ToDriver, 2 * LARGEST)
"""A report says more than the worker's message that it is about, which may have been as long as any."""

MOST_REPORTS = 1_000
"""Reports that may be under way to the driver at a time; others wait until it has taken some in."""


@dataclass(frozen=True, slots=True)
class WorkerSpoke:
    """A worker's message, and where to answer."""

    worker: WorkerId
    outbox: Peer
    message: FromWorker


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """A worker's connection has ended."""

    worker: WorkerId
    outbox: Peer


@dataclass(frozen=True, slots=True)
class DriverCame:
    """The driver is connected; the newest connection counts."""

    outbox: Peer


@dataclass(frozen=True, slots=True)
class DriverSpoke:
    """The driver's message, and the connection that it came by."""

    outbox: Peer
    message: FromDriver


@dataclass(frozen=True, slots=True)
class DriverGone:
    """The driver's connection has ended."""

    outbox: Peer


@dataclass(frozen=True, slots=True)
class TimePasses:
    """A quarter of a second or so has gone by; only the newest counts."""

    latest_key: str = "time"


@dataclass(frozen=True, slots=True)
class SendAway(Request[None]):
    """Tell every worker to hand back what it holds and leave; the answer comes when the last has gone."""

    reason: str


ControlMessage = SendAway | WorkerSpoke | WorkerGone | DriverCame | DriverSpoke | DriverGone | TimePasses


class Control(Actor[ControlMessage]):
    """Carries out what the desk decides; ``name`` tells this actor from those before and after it.

    ``abandoned`` is called once when no driver has been connected for ``patience`` seconds. All that is told to the
    driver is kept until it has taken it in, and told again on its next connection.
    """

    def __init__(self, name: str, clock: Clock, abandoned: Callable[[], None], patience: float = 20.0) -> None:
        self._name = name
        self._clock = clock
        self._abandoned = abandoned
        self._patience = patience
        self._desk = Desk()
        self._workers: dict[WorkerId, Peer] = {}
        self._driver: Peer | None = None
        self._listening = False  # whether the driver has said on this connection what it has taken in
        self._reports: Spoken[bytes] = Spoken(MOST_REPORTS)
        self._took = 0  # of the driver's messages
        self._took_told = 0
        self._alone_since: float | None = clock.monotonic()
        self._away: Promise[None] | None = None

    async def receive(self, message: ControlMessage) -> object:  # noqa: C901  one arm a message
        match message:
            case SendAway(reason):
                return self._send_away(reason)
            case WorkerSpoke(worker, outbox, words):
                self._worker_spoke(worker, outbox, words)
            case WorkerGone(worker, outbox):
                if self._workers.get(worker) is outbox:
                    del self._workers[worker]
                    self._decide(Dropped(self._clock.monotonic(), worker))
            case DriverCame(outbox):
                self._driver_came(outbox)
            case DriverSpoke(outbox, words):
                if self._driver is outbox:
                    self._driver_spoke(words)
            case DriverGone(outbox):
                if self._driver is outbox:
                    self._driver = None
                    self._alone_since = self._clock.monotonic()
                    self._decide(Parted(self._alone_since))
            case TimePasses():
                self._tick()
            case _:
                assert_never(message)
        self._settle_away()
        return None

    def _send_away(self, reason: str) -> Promise[None]:
        self._away = Promise()
        for outbox in self._workers.values():
            outbox.put(TO_WORKER.encode(Order("drain", reason)))
        self._settle_away()
        return self._away

    def _settle_away(self) -> None:
        if self._away is not None and not self._workers:
            self._away.keep(None)

    def _worker_spoke(self, worker: WorkerId, outbox: Peer, words: FromWorker) -> None:
        known = self._workers.get(worker)
        if known is None and isinstance(words, Hello):
            self._workers[worker] = outbox
        elif known is not outbox:
            self._stranger_spoke(worker, outbox, words)
            return
        self._decide(Spoke(self._clock.monotonic(), worker, words))

    def _stranger_spoke(self, worker: WorkerId, outbox: Peer, words: FromWorker) -> None:
        """A second delivery of a worker that is here, or one that was told to leave and has not left yet."""
        match words:
            case Hello():
                self._do(Report(TurnedAway(worker)))
                outbox.put(TO_WORKER.encode(Order("leave", "this attempt is here already")))
                outbox.end()
            case Bye(detail=detail, seconds=seconds, gets=gets, puts=puts):
                self._do(Report(WorkerLeft(worker, "lost", detail, seconds, gets, puts)))
                outbox.end()
            case _:
                outbox.put(TO_WORKER.encode(Order("leave", "this attempt is over")))

    def _driver_came(self, outbox: Peer) -> None:
        if self._driver is not None:
            self._driver.close()
        self._driver, self._alone_since, self._listening = outbox, None, False
        self._reports.new_line()
        outbox.put(TO_DRIVER.encode(Greeting(self._name, self._took)))

    def _driver_spoke(self, words: FromDriver) -> None:
        if isinstance(words, Took):
            if not self._listening:
                self._decide(Joined(self._clock.monotonic()))
            self._listening = True
            self._reports.taken(words.count)
            self._tell_driver()
        elif self._listening:
            self._took += 1
            self._decide(Ordered(self._clock.monotonic(), words))

    def _tick(self) -> None:
        now = self._clock.monotonic()
        self._decide(Tick(now))
        if self._driver is not None and self._took != self._took_told:
            self._took_told = self._took
            self._driver.put(TO_DRIVER.encode(Took(self._took)))
        if self._alone_since is not None and now - self._alone_since > self._patience:
            self._alone_since = None
            self._abandoned()

    def _decide(self, event: DeskEvent) -> None:
        for command in self._desk.handle(event):
            self._do(command)

    def _do(self, command: DeskCommand) -> None:
        match command:
            case Tell(worker, message):
                if worker in self._workers:
                    self._workers[worker].put(TO_WORKER.encode(message))
            case Disconnect(worker):
                outbox = self._workers.pop(worker, None)
                if outbox is not None:
                    outbox.end()
            case Part(worker, reason):
                outbox = self._workers.pop(worker, None)
                if outbox is not None:
                    outbox.put(TO_WORKER.encode(Order("leave", reason)))
            case Report(message):
                self._reports.say(TO_DRIVER.encode(message))
                self._tell_driver()
            case _:
                assert_never(command)

    def _tell_driver(self) -> None:
        if self._driver is not None and self._listening:
            for data in self._reports.due():
                self._driver.put(data)
