"""Who sees everything in a simulation and holds it against what cirrus promises; the first broken promise ends it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from cirrus.actors.records import Past
from cirrus.core.ids import Place, WorkerId
from cirrus.errors import CirrusError
from cirrus.store.memory import MemoryStore
from cirrus.testing.sim.shard_witness import ShardWitness
from cirrus.testing.sim.spec import PREPARE, RUN, TRAIN, Spec
from cirrus.testing.sim.storage import at_once
from cirrus.testing.sim.world import Process, World

LOOKS = 5
"""Looks at the cost within which a driver has to notice that its budget is spent."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision in the journal: of which epoch, and what."""

    epoch: int
    kind: str
    fields: Mapping[str, object]


@dataclass(slots=True)
class _Driving:
    """What is known of one driver."""

    wish: int = -1  # of training workers, once it knows the run
    wished: int = -1  # the place of that decision in the journal
    slots: dict[Place, tuple[int, float]] = field(default_factory=dict)  # the newest attempt that was asked for
    fenced: dict[Place, int] = field(default_factory=dict)
    decided: list[Entry] = field(default_factory=list)
    retired: bool = False
    beyond: int = 0  # looks at which its cost was above the budget


class Witness(ShardWitness):
    """Checks I1 to I8 while everything happens; ``broken`` names the promise that was not kept."""

    def __init__(self, world: World, spec: Spec, objects: MemoryStore) -> None:
        super().__init__(world, spec, objects)
        self.epoch = 0
        self.spent = 0.0
        self.journal: list[Entry] = []
        self._drivers: dict[Process, _Driving] = {}
        self._outputs: set[str] = set()
        self._enders: dict[str, int] = {}  # the epochs of those who wrote the model and the result last

    # The store

    def written(self, process: Process, key: str, data: bytes) -> None:
        """Nothing that was begun under an older epoch may be written behind a newer one's back."""
        name = key.removeprefix(f"runs/{RUN}/")
        if name == "holder.json":
            self._taken(process, json.loads(data))
        elif name.startswith("journal/"):
            self._journaled(name, json.loads(data))
        elif name in {"result.json", "model"}:
            self._ended(process, name)
            if name == "model":
                self._check_model(data)
        elif name.startswith("shards/"):
            self.stored(process, key)
        elif name.startswith(PREPARE):
            self._put_out(process, name)

    def _ended(self, process: Process, name: str) -> None:
        epoch, before = self.epochs.get(process, 0), self._enders.get(name, 0)
        if epoch < before:
            self.breaks("I5", f"{process.name} of epoch {epoch} wrote {name} over that of epoch {before}")
        self._enders[name] = epoch

    def _put_out(self, process: Process, name: str) -> None:
        if name in self._outputs:
            self.breaks("I2", f"{process.name} wrote over {name}")
        self._outputs.add(name)

    def _taken(self, process: Process, record: Mapping[str, object]) -> None:
        epoch = int(str(record["epoch"]))
        if epoch < self.epoch:
            self.breaks("I5", f"{process.name} wrote epoch {epoch} over epoch {self.epoch} into the record of holding")
        if epoch == self.epoch:
            self.spent = sum(float(str(record.get(name, 0.0))) for name in ("dollars", "committed_dollars"))
        self.epochs[process] = self.epoch = epoch

    def _journaled(self, name: str, entry: Mapping[str, object]) -> None:
        epoch, kind, fields = int(str(entry["epoch"])), str(entry["kind"]), entry["fields"]
        if self.journal and epoch < self.journal[-1].epoch:
            self.breaks("I5", f"an entry {kind!r} of epoch {epoch} behind one of epoch {self.journal[-1].epoch}")
        if name != f"journal/{len(self.journal):08d}.json":
            self.breaks("I5", f"{name} leaves a place behind entry {len(self.journal) - 1}, for an older driver")
        assert isinstance(fields, Mapping)
        self.journal.append(Entry(epoch, kind, fields))

    def _check_model(self, data: bytes) -> None:
        counts = json.loads(data)
        expected = [self._spec.epochs] * self._spec.minibatches
        if counts != expected:
            self.breaks("I4", f"the model counts {counts}, not {self._spec.epochs} everywhere")

    # The driver

    def decides(self, driver: Process, kind: str, fields: Mapping[str, object]) -> None:
        """A driver was told that this is durable, and it is."""
        mine, epoch = self._driving(driver), self.epochs[driver]
        mine.decided.append(Entry(epoch, kind, fields))
        alike = [
            place for place, one in enumerate(self.journal)
            if (one.epoch, one.kind) == (epoch, kind) and fields.items() <= one.fields.items()
        ]
        if len(alike) < mine.decided.count(mine.decided[-1]):
            self.breaks("I1", f"{driver.name} was told that {kind} {dict(fields)} is in the journal, where it is not")
        elif kind == "scaled" and fields["stage"] == TRAIN and alike[-1] > mine.wished:
            mine.wish, mine.wished = int(str(fields["workers"])), alike[-1]

    def resumed(self, driver: Process, past: Past) -> None:
        """A driver that takes a run knows every decision that was durable before."""
        true, epoch = Past(), self.epochs[driver]
        for entry in self.journal:
            if entry.epoch < epoch:
                _remember(true, entry)
        if (true.manifest, set(true.finished), true.wishes, true.killed) != (
            past.manifest, set(past.finished), past.wishes, past.killed,
        ):
            self.breaks("I1", f"{driver.name} goes on from {past}, where {true} was decided")
        self._driving(driver).wish = true.wishes.get(TRAIN, self._spec.workers)

    def wishes(self, driver: Process, workers: int) -> None:
        """The number of workers is the one that was decided last."""
        mine = self._driving(driver)
        if workers != mine.wish:
            self.breaks("I1", f"{driver.name} wishes for {workers} workers, where {mine.wish} were decided")

    def retired(self, driver: Process) -> None:
        """A driver has learnt that another has the run."""
        self._driving(driver).retired = True

    def fences(self, driver: Process, worker: WorkerId) -> None:
        """A driver gives a worker up, and says so."""
        fenced = self._driving(driver).fenced
        fenced[worker.place] = max(worker.attempt, fenced.get(worker.place, 0))

    def invoked(self, driver: Process, worker: WorkerId) -> None:
        """Nothing is spent without need: for a run that is killed, by a driver that has it no more, beyond the wish."""
        mine, place, now = self._driving(driver), worker.place, driver.monotonic()
        killed_in = next((one.epoch for one in self.journal if one.kind == "killed"), math.inf)
        killed_here = any(one.kind == "killed" for one in mine.decided)
        if killed_here or self.epochs[driver] > killed_in:
            self.breaks("I1", f"{driver.name} invoked {worker} after the run was killed")
        if mine.retired:
            self.breaks("I5", f"{driver.name} invoked {worker} though another driver has the run")
        if mine.beyond > LOOKS:
            self.breaks("I7", f"{driver.name} invoked {worker} though its budget is spent")
        if worker.pool == TRAIN and worker.slot >= mine.wish:
            self.breaks("I7", f"{driver.name} invoked {worker} where {mine.wish} workers are wished for")
        before, since = mine.slots.get(place, (0, now))
        is_early = now - since < self._spec.timeout / 2  # later the one before may be about to leave by itself
        if worker.attempt != before and before > mine.fenced.get(place, 0) and is_early:
            self.breaks("I7", f"{driver.name} invoked {worker} beside attempt {before}, which it has not given up")
        mine.slots[place] = worker.attempt, now

    def failed(self, process: Process, error: Exception) -> None:
        """Who fails says why, in cirrus's own words."""
        if not isinstance(error, CirrusError):
            self.breaks("I8", f"{process.name} ends without a reason that has a name: {error!r}")

    def prepared(self, driver: Process, outputs: Mapping[int, list[int]]) -> None:
        """Each row is in the data set once."""
        self._check_rows(driver.name, [row for found in outputs.values() for row in found])

    def _check_rows(self, who: str, rows: list[int]) -> None:
        if sorted(rows) != [row for piece in range(self._spec.pieces) for row in self._spec.rows(piece)]:
            self.breaks("I2", f"{who} has prepared rows {sorted(rows)}")

    def spends(self, driver: Process, dollars: float) -> None:
        """What a run has cost, as its driver sees it now."""
        self._driving(driver).beyond += dollars > self._spec.dollars

    def billed(self, reported: float, truly: float, driver: str) -> None:
        """What a driver reports of the workers that it has invoked is never below what is true."""
        if reported < truly - 1e-6:
            self.breaks("I7", f"{driver} reports {reported:.3f} where {truly:.3f} were spent")

    def inherited(self, driver: str, spent: float) -> None:
        """A driver that takes a run counts what was written down of its cost."""
        if abs(spent - self.spent) > 1e-6:
            self.breaks("I7", f"{driver} goes on from a cost of {spent:.3f}, not {self.spent:.3f}")

    def check_end(self, outcome: str) -> None:
        """How a run ended was decided, once; and what was prepared is in the store."""
        kinds = [entry.kind for entry in self.journal]
        for kind in ("prepared", "finished"):
            if kinds.count(kind) > 1:
                self.breaks("I1", f"{kinds.count(kind)} drivers decided {kind!r}")
        if (outcome == "killed") != ("killed" in kinds) and (outcome == "killed" or self._told_of_kill):
            self.breaks("I1", f"the run is {outcome}, its journal says {kinds}")
        if outcome == "done" and "finished" not in kinds:
            self.breaks("I1", "the run is done, and nobody decided that its stage is finished")
        manifest = next((str(one.fields["manifest"]) for one in self.journal if one.kind == "prepared"), "")
        if manifest:
            keys = json.loads(at_once(self._objects.get(manifest)))
            self._check_rows(manifest, [row for key in keys for row in json.loads(at_once(self._objects.get(key)))])

    @property
    def _told_of_kill(self) -> bool:
        return any(one.kind == "killed" for driver in self._drivers.values() for one in driver.decided)

    def _driving(self, driver: Process) -> _Driving:
        return self._drivers.setdefault(driver, _Driving())


def _remember(past: Past, entry: Entry) -> None:
    match entry.kind, entry.fields:
        case "prepared", {"manifest": str(manifest), "stage": str(stage)}:
            past.manifest = manifest
            past.finished[stage] = {}
        case "finished", {"stage": str(stage)}:
            past.finished[stage] = {}
        case "scaled", {"stage": str(stage), "workers": int(workers)}:
            past.wishes[stage] = workers
        case "killed", {"reason": str(reason)}:
            past.killed = reason
        case _:
            pass
