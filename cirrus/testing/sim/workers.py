"""Workers of a simulation, as ``cirrus.actors.worker`` and its jobs behave, and some that behave worse.

A stubborn one goes on with its unit whatever it is told, and whoever hangs goes on where it was when it wakes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from cirrus.actors.control import FROM_WORKER, TO_WORKER
from cirrus.core.ids import WorkerId
from cirrus.core.messages import Ask, Back, Beat, Bye, Done, FromWorker, Hello, Lease, Order, Welcome
from cirrus.core.slots import Leave
from cirrus.errors import Closed, Refused, RunError, StoreError
from cirrus.store.base import ObjectStore
from cirrus.testing.sim.lines import Lines
from cirrus.testing.sim.network import End, Network
from cirrus.testing.sim.provider import Call
from cirrus.testing.sim.world import Mailbox, Process

BEAT = 2.0
HOLDS = 2
TRIES = 5
MARGIN = 10.0
MEMORY = 1 << 27


@dataclass(frozen=True, slots=True)
class Introduced:
    """The first thing on a worker's connection to the control actor: who its token says it is."""

    worker: WorkerId


class Job(Protocol):
    """What a worker does with a unit."""

    async def do(self, lease: Lease) -> Done | Back:
        """All of it, or as much as the worker may."""
        ...

    def beat(self) -> Beat:
        """What was done since the last time."""
        ...


class Standing:
    """Why a worker is to leave; ``stubborn``: it hears it between two units only."""

    def __init__(self, process: Process, timeout: float, *, stubborn: bool) -> None:
        self._until = process.world.now + timeout - min(MARGIN, 0.05 * timeout)
        self._process = process
        self._leaving: tuple[Leave, str] | None = None
        self.stubborn = stubborn

    def leave(self, kind: Leave, detail: str) -> None:
        """Leave for this reason; the first counts."""
        if self._leaving is None:
            self._leaving = (kind, detail)

    @property
    def leaving(self) -> tuple[Leave, str] | None:
        """Why it is to leave, if it is."""
        if self._leaving is None and self._process.world.now >= self._until:
            self._leaving = ("deadline", "its time is nearly up")
        return self._leaving

    @property
    def stops(self) -> bool:
        """Whether it leaves in the middle of a unit."""
        return self.leaving is not None and not self.stubborn


@dataclass(frozen=True, slots=True)
class Tools:
    """What a job works with."""

    process: Process
    network: Network
    store: ObjectStore
    standing: Standing
    addresses: tuple[str, ...]


class Worker:
    """One worker's life: hello, leases, units, goodbye."""

    def __init__(self, tools: Tools, make: Callable[[Tools, str], Job]) -> None:
        self._tools = tools
        self._make = make
        self._leases: Mailbox[Lease] = Mailbox()
        self._end: End

    async def live(self, call: Call) -> None:
        """Everything."""
        tools = self._tools
        end = self._end = await tools.network.connect(tools.process, f"{call.addresses[0]}/control")
        end.send(Introduced(call.worker))
        self._say(Hello(1))
        data = await end.receive()
        answer = None if data is None else TO_WORKER.decode(data)
        if not isinstance(answer, Welcome):
            end.close()
            return
        job = self._make(tools, answer.work)
        tools.process.spawn(self._listen())
        tools.process.spawn(self._beat(job))
        try:
            await self._lease_and_do(job)
        except (RunError, StoreError) as error:
            tools.standing.leave("failed", str(error))
        self._say(Bye(*(tools.standing.leaving or ("idle", ""))))
        end.close()

    async def _lease_and_do(self, job: Job) -> None:
        standing = self._tools.standing
        self._say(Ask(HOLDS))
        while standing.leaving is None and (lease := await self._leases.get()) is not None:
            if standing.leaving is not None:
                self._say(Back(lease.unit, lease.lease))
                break
            result = await job.do(lease)
            if isinstance(result, Done):
                self._say(replace(result, beat=job.beat()))
            else:
                for message in (job.beat(), result, Ask(HOLDS)):
                    self._say(message)
        for lease in self._leases.take_all():
            self._say(Back(lease.unit, lease.lease))

    async def _listen(self) -> None:
        while (data := await self._end.receive()) is not None:
            match TO_WORKER.decode(data):
                case Lease() as lease:
                    self._leases.put(lease)
                case Order(kind, reason):
                    self._tools.standing.leave("lost" if kind == "leave" else "drained", reason)
                    self._leases.close()
                case Welcome():
                    pass
        self._tools.standing.leave("lost", "the connection to the control actor is gone")
        self._leases.close()

    async def _beat(self, job: Job) -> None:
        while True:
            await self._tools.process.sleep(BEAT)
            self._say(job.beat())
            if self._tools.standing.leaving is not None:
                self._leases.close()

    def _say(self, message: FromWorker) -> None:
        self._end.send(FROM_WORKER.encode(message))


@dataclass(frozen=True, slots=True)
class Piece:
    """What a unit of training consists of: its first minibatch's number, and how many steps."""

    first: int
    steps: int
    rows: int


@dataclass(frozen=True, slots=True)
class Lesson:
    """What training workers know: each unit, the number of the stage's unit 0 in ledgers, the depth, and the pace."""

    piece: Callable[[int], Piece]
    base: int
    depth: int
    pace: float


class TrainJob:
    """Pushes -1 for each minibatch of a unit, some steps in flight, wherever some shard lacks it."""

    def __init__(self, tools: Tools, lesson: Lesson) -> None:
        self._tools = tools
        self._lesson = lesson
        self._lines = Lines(tools.process, tools.network, tools.addresses)
        self._steps = 0
        self._told = 0

    async def do(self, lease: Lease) -> Done | Back:
        piece = self._lesson.piece(lease.unit)
        before, tries = self._steps, 0
        while not self._tools.standing.stops:
            try:
                if await self._learn(lease, piece):
                    return Done(lease.unit, lease.lease, piece.rows)
            except Refused:
                break
            except Closed as error:
                tries = tries + 1 if self._steps == before else 1
                before = self._steps
                if tries == TRIES:
                    raise RunError(f"unit {lease.unit} is refused {TRIES} times in a row") from error
        return Back(lease.unit, lease.lease)

    def beat(self) -> Beat:
        steps, self._told = self._steps - self._told, self._steps
        return Beat(MEMORY, steps, steps, 0.0)

    async def _learn(self, lease: Lease, piece: Piece) -> bool:
        lines, depth = self._lines, self._lesson.depth
        first = await lines.open(self._lesson.base + lease.unit, lease.lease)
        ahead = min(first + depth, piece.steps)
        for step in range(first, ahead):
            lines.step(0, None, piece.first + step)
        for step in range(first, piece.steps):
            await lines.answer()
            await self._tools.process.sleep(self._lesson.pace * (0.5 + self._tools.process.world.chance.number()))
            if self._tools.standing.stops:
                await lines.flush()
                return False
            later = step + depth
            lines.step(step, piece.first + step, piece.first + later if later < piece.steps else None)
            self._steps += 1
        await lines.flush()
        return True


class PrepareJob:
    """Writes the rows of a unit to an object of its own."""

    def __init__(self, tools: Tools, prefix: str, rows: Callable[[int], range]) -> None:
        self._tools = tools
        self._prefix = prefix
        self._rows = rows
        self._units = 0

    async def do(self, lease: Lease) -> Done | Back:
        process = self._tools.process
        await process.sleep(process.world.chance.between(0.2, 1.5))
        rows = list(self._rows(lease.unit))
        key = f"{self._prefix}{lease.unit:03d}-{lease.lease:06d}.json"
        await self._tools.store.put(key, json.dumps(rows).encode())
        self._units += 1
        return Done(lease.unit, lease.lease, len(rows), key)

    def beat(self) -> Beat:
        return Beat(MEMORY, 0, 1, 0.0)
