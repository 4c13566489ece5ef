"""Who sees everything in a simulation and holds it against what cirrus promises; the first broken promise ends it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cirrus.core.ids import Place, WorkerId
from cirrus.core.messages import Order, ToWorker, UnitDone, Welcome
from cirrus.core.placement import rows_on, shard_of
from cirrus.learn.rows import Floats
from cirrus.testing.sim.lines import Frame
from cirrus.testing.sim.shards import ShardNode
from cirrus.testing.sim.spec import BASE, RUN, Spec
from cirrus.testing.sim.world import Process, World

Steps = frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that a driver was told is durable."""

    at: float
    kind: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Saved:
    """A snapshot in the store: which steps went into it, of which epoch the shard was that wrote it, and when."""

    steps: Steps
    epoch: int
    at: float


NO_SNAPSHOT = _Saved(frozenset(), 0, 0.0)


@dataclass(slots=True)
class _Life:
    """What is known of one incarnation of a shard."""

    steps: set[tuple[int, int]] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)  # the newest that has opened each unit
    draft: Steps = frozenset()
    welcome: dict[Place, int] = field(default_factory=dict)  # the newest attempt that was let in to each slot


class Witness:
    """Checks I1 to I7 while everything happens; ``broken`` names the promise that was not kept."""

    def __init__(self, world: World, spec: Spec) -> None:
        self.broken = ""
        self.decided: list[Decision] = []
        self.killed_in = math.inf  # which epoch
        self.epochs: dict[Process, int] = {}  # of everybody who writes
        self.epoch = 0
        self.spent = 0.0
        self.journal: list[tuple[int, str]] = []
        self.nodes: list[ShardNode] = []
        self._world = world
        self._spec = spec
        self._lives: dict[Process, _Life] = {}
        self._saved: dict[str, _Saved] = {}
        self._read: dict[Process, str] = {}
        self._fences: dict[int, tuple[int, float]] = {}  # of each shard: the newest epoch that serves, and since when
        self._retired: set[Process] = set()
        self._leases: dict[tuple[int, str, int], int] = {}  # the newest of each epoch, pool and unit

    def breaks(self, promise: str, how: str) -> None:
        """A promise is broken: the world ends here."""
        if not self.broken:
            self.broken = f"{promise}: {how}"
            self._world.tell("witness", self.broken)
            self._world.over = True

    # The store

    def read(self, process: Process, key: str) -> None:
        """Remember what a shard begins with."""
        if "/shards/" in key:
            self._read[process] = key

    def written(self, process: Process, key: str, data: bytes) -> None:
        """Nothing that was begun under an older epoch may be written behind a newer one's back."""
        name = key.removeprefix(f"runs/{RUN}/")
        epoch = self.epochs.get(process, 0)
        if name == "holder.json":
            self._taken(process, json.loads(data))
        elif name.startswith("journal/"):
            entry = json.loads(data)
            self._journaled(int(entry["epoch"]), str(entry["kind"]))
        elif name in {"result.json", "model"}:
            if epoch < self.epoch:
                self.breaks("I5", f"{process.name} of epoch {epoch} wrote {name} in epoch {self.epoch}")
            if name == "model":
                self._check_model(data)
        elif name.startswith("shards/"):
            life = self._lives.get(process)
            begun = self._saved.get(self._read.get(process, ""), NO_SNAPSHOT)
            self._saved[key] = _Saved(begun.steps if life is None else life.draft, epoch, self._world.now)

    def _taken(self, process: Process, record: Mapping[str, object]) -> None:
        epoch = int(str(record["epoch"]))
        if epoch < self.epoch:
            self.breaks("I5", f"{process.name} wrote epoch {epoch} over epoch {self.epoch} into the record of holding")
        if epoch == self.epoch:
            self.spent = float(str(record["dollars"])) + float(str(record["committed_dollars"]))
        self.epochs[process] = self.epoch = epoch

    def _journaled(self, epoch: int, kind: str) -> None:
        if self.journal and epoch < self.journal[-1][0]:
            self.breaks("I5", f"an entry {kind!r} of epoch {epoch} behind one of epoch {self.journal[-1][0]}")
        self.journal.append((epoch, kind))

    def _check_model(self, data: bytes) -> None:
        counts = json.loads(data)
        expected = [self._spec.epochs] * self._spec.minibatches
        if counts != expected:
            self.breaks("I4", f"the model counts {counts}, not {self._spec.epochs} everywhere")

    # Shards

    def begins(self, node: ShardNode) -> None:
        """A shard was started."""
        self.nodes.append(node)
        self.epochs[node.process] = node.epoch

    def restored(self, node: ShardNode) -> None:
        """What a shard begins with must be of the newest epoch that has served, and its weights those of its steps."""
        key = self._read.get(node.process, "")
        begun = self._saved[key] if key and node.restoring else NO_SNAPSHOT
        fence, since = self._fences.get(node.number, (0, 0.0))
        if begun.epoch < fence == node.epoch and begun.at > since:
            self.breaks("I5", f"{node.process.name} begins with {key} of epoch {begun.epoch}, new since {since:.1f}")
        if node.epoch > fence:
            self._fences[node.number] = (node.epoch, self._world.now)
        self._lives[node.process] = _Life(set(begun.steps))
        self.check_weights(node)

    def opened(self, node: ShardNode, frame: Frame) -> None:
        """Attempts of a unit only grow."""
        life = self._lives[node.process]
        newest = life.attempts.get(frame.unit, 0)
        if frame.attempt < newest:
            self.breaks("I5", f"{node.process.name} opened unit {frame.unit} for {frame.attempt} after {newest}")
        life.attempts[frame.unit] = max(newest, frame.attempt)

    def applied(self, node: ShardNode, frame: Frame) -> None:
        """Each step goes once into each shard, under the newest attempt that has opened its unit."""
        life, step = self._lives[node.process], (frame.unit, frame.step)
        if step in life.steps:
            self.breaks("I3", f"{node.process.name} applied step {step} twice")
        life.steps.add(step)
        if life.attempts.get(frame.unit) != frame.attempt:
            newest = life.attempts.get(frame.unit)
            self.breaks("I5", f"{node.process.name} applied {step} of attempt {frame.attempt} after {newest}")

    def told(self, node: ShardNode, worker: WorkerId, message: ToWorker) -> None:
        """Only the newest attempt of a slot is let in and gets leases, whose numbers grow."""
        life = self._lives[node.process]
        newest = life.welcome.get(worker.place, 0)
        if isinstance(message, Order):
            return
        if isinstance(message, Welcome) and worker.attempt < newest:
            self.breaks("I5", f"{node.process.name} let {worker} in after attempt {newest}")
        if isinstance(message, Welcome):
            life.welcome[worker.place] = worker.attempt
            return
        if worker.attempt < newest:
            self.breaks("I5", f"{node.process.name} gave {worker} a lease after attempt {newest} was let in")
        place = (node.epoch, worker.pool, message.unit)
        if message.lease <= self._leases.get(place, 0):
            self.breaks("I5", f"lease {message.lease} of unit {message.unit} after lease {self._leases[place]}")
        self._leases[place] = message.lease

    def finished(self, driver: Process, done: UnitDone) -> None:
        """A unit's end counts under its newest lease."""
        newest = self._leases.get((self.epochs[driver], done.pool, done.unit), 0)
        if done.lease > newest:
            self.breaks("I5", f"unit {done.unit} of {done.pool} is done under lease {done.lease}, not {newest}")

    def saving(self, node: ShardNode) -> None:
        """What is saved are the weights of the steps that were applied."""
        life = self._lives[node.process]
        life.draft = frozenset(life.steps)
        self.check_weights(node)

    def check_weights(self, node: ShardNode) -> None:
        """Each weight counts the steps of its minibatch that were applied."""
        if not node.shard.tables:
            return
        shards = node.site.shards
        expected: Floats = np.zeros(rows_on(node.number, self._spec.minibatches, shards), np.float32)
        for unit, step in self._lives[node.process].steps:
            key = self._spec.piece(unit - BASE).first + step
            if shard_of(key, shards) == node.number:
                expected[key // shards] += 1.0
        found = node.shard.tables[0].weights()[:, 0]
        if not np.array_equal(found, expected):
            self.breaks("I4", f"{node.process.name} counts {found.tolist()} and was told {expected.tolist()}")

    # The driver

    def decides(self, kind: str, fields: Mapping[str, object]) -> None:
        """A driver was told that this is durable."""
        self.decided.append(Decision(self._world.now, kind, fields))
        if kind == "killed":
            self.killed_in = self.journal_epoch("killed")

    def journal_epoch(self, kind: str) -> int:
        """The epoch of the first decision of that kind."""
        return next(epoch for epoch, found in self.journal if found == kind)

    def retired(self, driver: Process) -> None:
        """A driver has learnt that another has the run."""
        self._retired.add(driver)

    def invoked(self, driver: Process, worker: WorkerId) -> None:
        """Nothing is spent for a run that is killed, or by a driver that knows that it has it no more."""
        if self.epochs[driver] >= self.killed_in:
            self.breaks("I1", f"{driver.name} invoked {worker} after the run was killed")
        if driver in self._retired:
            self.breaks("I5", f"{driver.name} invoked {worker} though another driver has the run")

    def prepared(self, driver: Process, outputs: Mapping[int, list[int]]) -> None:
        """Each row is in the data set once."""
        rows = sorted(row for found in outputs.values() for row in found)
        if rows != [row for piece in range(self._spec.pieces) for row in self._spec.rows(piece)]:
            self.breaks("I2", f"{driver.name} has prepared rows {rows}")

    def billed(self, reported: float, truly: float, driver: str) -> None:
        """What a driver reports of the workers that it has invoked is never below what is true."""
        if reported < truly - 1e-6:
            self.breaks("I7", f"{driver} reports {reported:.3f} where {truly:.3f} were spent")

    def inherited(self, driver: str, spent: float) -> None:
        """A driver that takes a run counts what was written down of its cost."""
        if abs(spent - self.spent) > 1e-6:
            self.breaks("I7", f"{driver} goes on from a cost of {spent:.3f}, not {self.spent:.3f}")

    def check_decisions(self) -> None:
        """Everything that was said to be durable is in the journal."""
        kinds = [kind for _, kind in self.journal]
        for kind in ("killed", "prepared", "finished", "scaled"):
            said = sum(one.kind == kind for one in self.decided)
            if kinds.count(kind) < said:
                self.breaks("I1", f"{said} decisions {kind!r} were made and {kinds.count(kind)} are in the journal")
