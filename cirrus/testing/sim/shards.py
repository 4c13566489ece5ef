"""Shards of a simulation: the true shard and snapshots and, on shard 0, the true control actor, in one process each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, Protocol, TypeVar

from cirrus.actors.control import (
    FROM_DRIVER,
    FROM_WORKER,
    TO_WORKER,
    Control,
    ControlMessage,
    DriverCame,
    DriverGone,
    DriverSpoke,
    SendAway,
    TimePasses,
    WorkerGone,
    WorkerSpoke,
)
from cirrus.actors.shard import Connection, Shard
from cirrus.actors.snapshots import LOOK, Shelf, Snapshots, begin, resume
from cirrus.core.ids import WorkerId
from cirrus.core.ledger import Ledger
from cirrus.core.messages import FromWorker, ToWorker
from cirrus.errors import Conflict, OutsideError, WireError
from cirrus.learn.base import TableSpec
from cirrus.store.memory import MemoryStore
from cirrus.testing.sim.faults import FaultPlan
from cirrus.testing.sim.lines import Frame
from cirrus.testing.sim.network import End, Network
from cirrus.testing.sim.storage import SimStore, Watcher, at_once
from cirrus.testing.sim.workers import Introduced
from cirrus.testing.sim.world import Process, Wait, World
from cirrus.wire import frames
from cirrus.wire.frames import Status

P = ParamSpec("P")
T = TypeVar("T")

TICK = 0.5
FAREWELL = 3.0
START = (0.3, 1.5)


@dataclass(frozen=True, slots=True)
class DriverIntroduced:
    """The first thing on the driver's connection to the control actor."""


class ShardWatcher(Watcher, Protocol):
    """Who is told of everything that happens to a shard."""

    def begins(self, node: ShardNode) -> None:
        """It was started."""
        ...

    def restored(self, node: ShardNode) -> None:
        """It has begun with what it found in the store."""
        ...

    def opened(self, node: ShardNode, frame: Frame, last: int) -> None:
        """A worker has opened a unit, was let in, and heard which step was the last to be applied."""
        ...

    def applied(self, node: ShardNode, frame: Frame) -> None:
        """A step was applied."""
        ...

    def acknowledged(self, node: ShardNode, frame: Frame) -> None:
        """A step was acknowledged, applied now or before."""
        ...

    def heard(self, node: ShardNode, worker: WorkerId, message: FromWorker) -> None:
        """A worker has told the control actor this."""
        ...

    def told(self, node: ShardNode, worker: WorkerId, message: ToWorker) -> None:
        """The control actor has told a worker this."""
        ...

    def failed(self, process: Process, error: Exception) -> None:
        """Somebody ends because of an error."""
        ...

    def saving(self, node: ShardNode) -> None:
        """It is about to write a snapshot of what it is now."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """What all shards of one driver have in common: where everything is, and the run's epoch."""

    world: World
    network: Network
    objects: MemoryStore
    plan: FaultPlan
    watcher: ShardWatcher
    name: str
    epoch: int
    shards: int


@dataclass(frozen=True, slots=True)
class Held:
    """A shard's snapshot, and the ledger of one line of units as it was then."""

    key: str
    ledger: Ledger


class ShardNode:
    """One incarnation of a shard; ``ready`` is kept once it listens."""

    def __init__(self, site: Site, number: int, host: str, *, restore: bool) -> None:
        self.site = site
        self.number = number
        self.address = f"{site.name}/shard-{number}"
        self.process = Process(site.world, self.address, host)
        self.shard = Shard(number, site.shards)
        self.ready: Wait[None] = Wait()
        self.restoring = restore
        self.epoch = site.epoch
        self._snapshots: Snapshots
        self._control: Control | None = None
        self._leaving = False
        self.process.on_failure = self._failed
        self.process.when_ended.append(lambda _: self.ready.refuse(OutsideError("it did not come up")))
        self.process.spawn(self._live())

    async def create(self, spec: TableSpec) -> None:
        """Make a table unless it is there."""
        self.shard.create(spec)

    async def ledger(self, line: int) -> Ledger:
        """What it has applied of a line of units."""
        return Ledger.load(self.shard.ledgers.get(line, Ledger()).dump())

    async def save(self, line: int) -> Held:
        """Write a snapshot."""
        if self._snapshots.busy:
            raise Conflict("snapshot", "one is being written")
        ledger = await self.ledger(line)
        self.site.watcher.saving(self)
        return Held(await self._snapshots.save(self.shard), ledger)

    def stop(self, reason: str, *, save: bool) -> None:
        """Say farewell, save a snapshot if that is wished for, and end."""
        if not self._leaving and self.process.alive:
            self._leaving = True
            self.site.world.tell(self.process.name, f"leaves: {reason}")
            self.process.spawn(self._leave(reason, save=save))

    async def _live(self) -> None:
        site, process = self.site, self.process
        await process.sleep(site.world.chance.between(*START))
        store = SimStore(process, site.objects, site.plan, site.watcher)
        shelf = Shelf(store, f"runs/run/shards/{self.number:03d}", self.epoch, _inline)
        self._snapshots = await (resume(self.shard, shelf) if self.restoring else begin(shelf))
        site.watcher.restored(self)
        self.restoring = False
        site.world.tell(process.name, f"is ready; {self.shard.counters.applied} steps applied")
        if self.number == 0:
            name = f"control {site.world.chance.number()}"
            self._control = Control(name, process, lambda: self.stop("no driver", save=True))
            site.network.listen(f"{self.address}/control", process, self._come)
        site.network.listen(f"{self.address}/steps", process, self._serve)
        site.network.listen(self.address, process, End.close)
        self.ready.keep(None)
        while self._control is not None:
            await process.sleep(TICK)
            self.tell(TimePasses())

    async def _leave(self, reason: str, *, save: bool) -> None:
        if self._control is not None:
            at_once(self._control.receive(SendAway(reason)))
            await self.process.sleep(FAREWELL)
        if save and self.ready.done and not self.restoring:
            while self._snapshots.busy:
                await self.process.sleep(LOOK)
            self.site.watcher.saving(self)
            await self._snapshots.save_last(self.shard, self.process.sleep)
        self.process.after(0.0, self.process.kill)

    def _failed(self, error: Exception) -> None:
        self.site.world.tell(self.process.name, f"ends: {error!r}")
        self.site.watcher.failed(self.process, error)
        self.process.kill()

    def tell(self, message: ControlMessage) -> None:
        """Tell the control actor."""
        assert self._control is not None
        at_once(self._control.receive(message))

    def _come(self, end: End) -> None:
        _Visitor(self, end)

    def _serve(self, end: End) -> None:
        _Steps(self, end)


class _Visitor:
    """A connection to the control actor, as ``cirrus.actors.reception`` treats it; and where answers are left."""

    def __init__(self, node: ShardNode, end: End) -> None:
        self._node = node
        self._end = end
        self._worker: WorkerId | None = None
        self._driver = False
        end.hear = self._hear

    def put(self, data: bytes) -> None:
        if self._worker is not None:
            self._node.site.watcher.told(self._node, self._worker, TO_WORKER.decode(data))
        self._end.send(data)

    def end(self) -> None:
        self._end.close()

    def close(self) -> None:
        self._end.close()

    def _hear(self, message: object) -> None:
        match message:
            case Introduced(worker):
                self._worker = worker
            case DriverIntroduced():
                self._driver = True
                self._node.tell(DriverCame(self))
            case bytes() if self._driver:
                self._node.tell(DriverSpoke(self, FROM_DRIVER.decode(message)))
            case bytes() if self._worker is not None:
                words = FROM_WORKER.decode(message)
                self._node.site.watcher.heard(self._node, self._worker, words)
                self._node.tell(WorkerSpoke(self._worker, self, words))
            case None if self._driver:
                self._node.tell(DriverGone(self))
            case None if self._worker is not None:
                self._node.tell(WorkerGone(self._worker, self))
            case _:
                pass


class _Steps:
    """A worker's connection for step frames, as ``cirrus.actors.server`` treats it."""

    def __init__(self, node: ShardNode, end: End) -> None:
        self._node = node
        self._end = end
        self._connection = Connection()
        end.hear = self._hear

    def _hear(self, frame: Frame | None) -> None:
        if frame is None:
            return
        node, before = self._node, self._node.shard.counters.applied
        try:
            reply = node.shard.handle(self._connection, frame.data)
        except WireError as error:
            node.site.world.tell(node.process.name, f"refuses a frame: {error}")
            self._end.close()
            return
        if node.shard.counters.applied > before:
            node.site.watcher.applied(node, frame)
        match next(frames.replies(reply)):
            case frames.Opened(Status.APPLIED, _, last):
                node.site.watcher.opened(node, frame, last)
            case frames.Answer(Status.APPLIED | Status.DUPLICATE):
                node.site.watcher.acknowledged(node, frame)
            case _:
                pass
        self._end.send(reply)


async def _inline(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """In a simulation computing takes no time."""
    return partial(work, *args, **kwargs)()
