"""Who sees everything that happens to the shards of a simulation, and holds it against what cirrus promises."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cirrus.core.ids import Place, WorkerId
from cirrus.core.ledger import Ledger
from cirrus.core.messages import Done, FromWorker, Order, ToWorker, UnitDone, Welcome
from cirrus.core.placement import rows_on, shard_of
from cirrus.learn.rows import Floats
from cirrus.store.memory import MemoryStore
from cirrus.testing.sim.lines import Frame
from cirrus.testing.sim.shards import ShardNode
from cirrus.testing.sim.spec import BASE, Spec
from cirrus.testing.sim.storage import is_sound
from cirrus.testing.sim.world import Process, World

Steps = frozenset[tuple[int, int]]


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
    relieved: set[WorkerId] = field(default_factory=set)  # who may finish what it has and then leaves


class ShardWitness:
    """Checks I3 to I5 while everything happens; ``broken`` names the promise that was not kept: the world ends then."""

    def __init__(self, world: World, spec: Spec, objects: MemoryStore) -> None:
        self.broken = ""
        self.epochs: dict[Process, int] = {}  # of everybody who writes
        self.nodes: list[ShardNode] = []
        self._world = world
        self._spec = spec
        self._objects = objects
        self._lives: dict[Process, _Life] = {}
        self._saved: dict[str, _Saved] = {}
        self._read: dict[Process, str] = {}
        self._newest: dict[Process, str] = {}  # the newest sound snapshot when a shard was started
        self._fences: dict[int, tuple[int, float]] = {}  # of each shard: the newest epoch that serves, and since when
        self._leases: dict[tuple[int, str, int], set[int]] = {}  # that were granted, of each epoch, pool and unit
        self._ghosts: set[tuple[int, str, int, int]] = set()  # finishes that a fenced worker has sent

    def breaks(self, promise: str, how: str) -> None:
        """A promise is broken: the world ends here."""
        if not self.broken:
            self.broken = f"{promise}: {how}"
            self._world.tell("witness", self.broken)
            self._world.over = True

    def read(self, process: Process, key: str) -> None:
        """Remember what a shard begins with."""
        if "/shards/" in key:
            self._read[process] = key

    def stored(self, process: Process, key: str) -> None:
        """Remember what is in a snapshot."""
        life = self._lives.get(process)
        begun = self._saved.get(self._read.get(process, ""), NO_SNAPSHOT)
        steps = begun.steps if life is None else life.draft
        self._saved[key] = _Saved(steps, self.epochs.get(process, 0), self._world.now)

    def begins(self, node: ShardNode) -> None:
        """A shard was started."""
        self.nodes.append(node)
        self.epochs[node.process] = node.epoch
        self._newest[node.process] = self._soundest(node)

    def restored(self, node: ShardNode) -> None:
        """A shard begins with the newest sound snapshot, of the newest epoch that has served, and its weights only.

        So its death cost no more than what was applied since that snapshot.
        """
        name, key = node.process.name, self._read.get(node.process, "")
        newest = self._newest[node.process]
        if node.restoring and key < newest and is_sound(self._objects, newest):
            self.breaks("I4", f"{name} begins with {key or 'nothing'} where there is {newest}")
        begun = self._saved[key] if key and node.restoring else NO_SNAPSHOT
        fence, since = self._fences.get(node.number, (0, 0.0))
        if begun.epoch < fence == node.epoch and begun.at > since:
            self.breaks("I5", f"{name} begins with {key} of epoch {begun.epoch}, new since {since:.1f}")
        if node.epoch > fence:
            self._fences[node.number] = (node.epoch, self._world.now)
        self._lives[node.process] = _Life(set(begun.steps))
        self.check_weights(node)

    def opened(self, node: ShardNode, frame: Frame, last: int) -> None:
        """Attempts of a unit only grow, and each hears the truth about the last step that was applied."""
        life, unit = self._lives[node.process], frame.unit
        newest = life.attempts.get(unit, 0)
        if frame.attempt < newest:
            self.breaks("I5", f"{node.process.name} opened unit {unit} for {frame.attempt} after {newest}")
        life.attempts[unit] = max(newest, frame.attempt)
        applied = sum(1 for one, _ in life.steps if one == unit)
        if last + 1 != applied:
            self.breaks("I3", f"{node.process.name} says that it has {last + 1} steps of {unit}, not {applied}")

    def applied(self, node: ShardNode, frame: Frame) -> None:
        """Each step goes once into each shard, under the newest attempt that has opened its unit."""
        life, step = self._lives[node.process], (frame.unit, frame.step)
        if step in life.steps:
            self.breaks("I3", f"{node.process.name} applied step {step} twice")
        life.steps.add(step)
        if life.attempts.get(frame.unit) != frame.attempt:
            newest = life.attempts.get(frame.unit)
            self.breaks("I5", f"{node.process.name} applied {step} of attempt {frame.attempt} after {newest}")

    def acknowledged(self, node: ShardNode, frame: Frame) -> None:
        """A step that is acknowledged is in the weights."""
        if (frame.unit, frame.step) not in self._lives[node.process].steps:
            self.breaks("I3", f"{node.process.name} acknowledges {(frame.unit, frame.step)} and has not applied it")

    def heard(self, node: ShardNode, worker: WorkerId, message: FromWorker) -> None:
        """Remember what came from a worker whose slot another one fills, unless it was asked to hand back."""
        life = self._lives[node.process]
        newest = life.welcome.get(worker.place, 0)
        if isinstance(message, Done) and worker.attempt < newest and worker not in life.relieved:
            self._ghosts.add((node.epoch, worker.pool, message.unit, message.lease))

    def told(self, node: ShardNode, worker: WorkerId, message: ToWorker) -> None:
        """Only the newest attempt of a slot is let in and gets leases, whose numbers grow."""
        life = self._lives[node.process]
        newest = life.welcome.get(worker.place, 0)
        if isinstance(message, Order):
            (life.relieved.add if message.kind == "drain" else life.relieved.discard)(worker)
            return
        if isinstance(message, Welcome) and worker.attempt < newest:
            self.breaks("I5", f"{node.process.name} let {worker} in after attempt {newest}")
        if isinstance(message, Welcome):
            life.welcome[worker.place] = worker.attempt
            return
        if worker.attempt < newest:
            self.breaks("I5", f"{node.process.name} gave {worker} a lease after attempt {newest} was let in")
        granted = self._leases.setdefault((node.epoch, worker.pool, message.unit), set())
        if message.lease <= max(granted, default=0):
            self.breaks("I5", f"lease {message.lease} of unit {message.unit} after lease {max(granted)}")
        granted.add(message.lease)

    def finished(self, driver: Process, done: UnitDone) -> None:
        """A unit's end counts under a lease that was granted, and not from somebody who was fenced."""
        epoch = self.epochs[driver]
        if done.lease not in self._leases.get((epoch, done.pool, done.unit), ()):
            self.breaks("I5", f"unit {done.unit} of {done.pool} is done under lease {done.lease}, which nobody got")
        if (epoch, done.pool, done.unit, done.lease) in self._ghosts:
            self.breaks("I5", f"unit {done.unit} of {done.pool} is done by a worker that was fenced")

    def saving(self, node: ShardNode) -> None:
        """What is saved are the weights of the steps that were applied, and the ledger that says which."""
        life = self._lives[node.process]
        life.draft = frozenset(life.steps)
        self.check_weights(node)

    def check_weights(self, node: ShardNode) -> None:
        """Each weight counts the steps of its minibatch that were applied, and the ledger tells them."""
        steps, name = self._lives[node.process].steps, node.process.name
        if not node.shard.tables:
            if steps:
                self.breaks("I4", f"{name} has nothing, and {len(steps)} steps went into its snapshot")
            return
        shards = node.site.shards
        expected: Floats = np.zeros(rows_on(node.number, self._spec.minibatches, shards), np.float32)
        applied: dict[int, int] = {}
        for unit, step in steps:
            applied[unit] = applied.get(unit, 0) + 1
            key = self._spec.piece(unit - BASE).first + step
            if shard_of(key, shards) == node.number:
                expected[key // shards] += 1.0
        found = node.shard.tables[0].weights()[:, 0]
        if not np.array_equal(found, expected):
            self.breaks("I4", f"{name} counts {found.tolist()} and was told {expected.tolist()}")
        ledger = node.shard.ledgers.get(BASE >> 32, Ledger())
        for unit, count in applied.items():
            if ledger.last(unit - BASE) + 1 != count:
                self.breaks("I4", f"{name} has {count} steps of unit {unit}, its ledger {ledger.last(unit - BASE) + 1}")

    def _soundest(self, node: ShardNode) -> str:
        prefix = f"runs/run/shards/{node.number:03d}/"
        keys = [key for key in self._saved if key.startswith(prefix) and is_sound(self._objects, key)]
        return max(keys, default="")
