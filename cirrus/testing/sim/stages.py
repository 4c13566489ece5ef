"""The two stages of a simulated run, followed as ``cirrus.actors.preparing`` and ``cirrus.actors.training`` do."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

from cirrus.actors.crew import LEASE_SECONDS
from cirrus.core import course, messages, roster
from cirrus.core.messages import Allow, OpenPool, PoolDone, UnitDone
from cirrus.errors import OutsideError, RunError
from cirrus.learn.base import TableSpec
from cirrus.optimizers import SGD
from cirrus.store.base import ObjectStore
from cirrus.store.checkpoints import decode_snapshot
from cirrus.testing.sim.fleet import SimFleet
from cirrus.testing.sim.spec import LINE, PREPARE, TRAIN, Spec
from cirrus.testing.sim.world import Mailbox, Process, Task
from cirrus.until import epochs


@dataclass(frozen=True, slots=True)
class Failed:
    """A pool gave up."""

    error: RunError


@dataclass(frozen=True, slots=True)
class Prepared:
    """The rows that each unit's output holds, and the key of the list of all outputs."""

    rows: dict[int, list[int]]
    manifest: str


Heard = messages.ToDriver | Failed | roster.Over | Literal["tick", "shard back"]


class Stages:
    """Takes a run through its stages; ``act`` tells the roster something, ``wishes`` are the workers of each stage."""

    def __init__(
        self, spec: Spec, process: Process, store: ObjectStore, fleet: SimFleet, mailbox: Mailbox[Heard]
    ) -> None:
        self.act: Callable[[roster.RosterEvent], None] = lambda _: None
        self.wishes: dict[str, int] = {}
        self.store = store
        self._spec = spec
        self._process = process
        self._fleet = fleet
        self._mailbox = mailbox

    async def prepare(self, prefix: str) -> Prepared:
        """Have all units scanned, then encoded; what came of it."""
        scans = self._spec.pieces
        total = 2 * scans
        self._open(OpenPool(PREPARE, prefix, total, total, LEASE_SECONDS))
        self.act(roster.Steered(Allow(PREPARE, scans)))
        outputs: dict[int, str] = {}
        while not isinstance(heard := await self._heard(), PoolDone):
            if not isinstance(heard, UnitDone):
                continue
            outputs[heard.unit] = heard.output
            if heard.unit < scans and all(unit in outputs for unit in range(scans)):
                self.act(roster.Steered(Allow(PREPARE, total)))
        await self._close(PREPARE)
        rows = {unit: json.loads(await self.store.get(outputs[unit])) for unit in range(scans, total)}
        manifest = f"{prefix}manifest.json"
        await self.store.put(manifest, json.dumps([outputs[unit] for unit in rows]).encode())
        return Prepared(rows, manifest)

    async def train(self) -> list[float]:
        """Learn; the counts of all minibatches, out of the snapshots that hold the model."""
        spec, now = self._spec, self._process.monotonic()
        table = TableSpec("counts", spec.minibatches, 1, SGD(rate=1.0))
        going = course.Course(TRAIN, len(spec.steps), epochs(spec.epochs), self._size, now)
        await self._fleet.create(table)
        ledgers = await self._fleet.ledgers(LINE)
        going.handle(course.Begun(ledgers))
        first = 1 + max(ledger.highest for ledger in ledgers)
        self._open(OpenPool(TRAIN, TRAIN, spec.units, spec.staleness, LEASE_SECONDS, first, going.units))
        saving = self._process.spawn(self._save_regularly())
        while True:
            keys = await self._follow(going, self._told(going, await self._heard()), table, saving)
            if keys:
                return await self._assembled(keys)

    def _told(self, going: course.Course, heard: Heard) -> tuple[course.CourseCommand, ...]:
        now = self._process.monotonic()
        match heard:
            case "tick":
                return going.handle(course.Tick(now))
            case "shard back":
                return going.handle(course.ShardBack(now))
            case roster.Over() | Failed():
                return ()
            case _:
                return going.handle(course.Heard(now, heard))

    async def _follow(
        self, going: course.Course, commands: Iterable[course.CourseCommand], table: TableSpec, saving: Task[None]
    ) -> tuple[str, ...]:
        """Carry out what the course asks for; the keys of the snapshots at its end."""
        todo, tell = deque(commands), self._process.world.tell
        while todo:
            command = todo.popleft()
            match command:
                case course.Inquire():
                    await self._fleet.create(table)
                    ledgers = await self._fleet.ledgers(LINE)
                    todo += going.handle(course.Applied(self._process.monotonic(), ledgers))
                case course.Save():
                    held = await self._fleet.save(LINE)
                    keys = tuple(one.key for one in held)
                    todo += going.handle(course.Saved(self._process.monotonic(), keys, [one.ledger for one in held]))
                case messages.Reopen():
                    tell(self._process.name, f"reopens units {command.units}")
                    self.act(roster.Steered(command))
                case course.Lost(units, steps):
                    tell(self._process.name, f"{steps} steps of {units} units were lost")
                case course.Close():
                    saving.cancel()
                    await self._close(TRAIN)
                case course.End(keys):
                    return keys
                case _:
                    assert_never(command)
        return ()

    async def _save_regularly(self) -> None:
        while True:
            await self._process.sleep(self._spec.snapshot)
            try:
                await self._fleet.save(LINE)
            except OutsideError as error:
                self._process.world.tell(self._process.name, f"no snapshot: {error}")

    async def _assembled(self, keys: tuple[str, ...]) -> list[float]:
        counts = [0.0] * self._spec.minibatches
        for number, key in enumerate(keys):
            found = decode_snapshot(await self.store.get(key), key)
            weights = next(array for name, array in found.arrays.items() if name.startswith("0."))
            for local, count in enumerate(weights.ravel().tolist()):
                counts[local * len(keys) + number] = count
        return counts

    def _open(self, pool: OpenPool) -> None:
        self.act(roster.Opened(self._process.monotonic(), pool, self.wishes[pool.pool], self._spec.timeout))

    async def _close(self, pool: str) -> None:
        self.act(roster.Closing(self._process.monotonic(), pool))
        unread: list[Heard] = []
        while not isinstance(heard := await self._mailbox.get(), roster.Over):
            if heard is not None and heard != "tick":
                unread.append(heard)
        for one in unread:
            self._mailbox.put(one)

    async def _heard(self) -> Heard:
        heard = await self._mailbox.get()
        assert heard is not None
        if isinstance(heard, Failed):
            raise heard.error
        return heard

    def _size(self, unit: int) -> course.Size:
        piece = self._spec.piece(unit)
        return course.Size(piece.rows, piece.steps)
