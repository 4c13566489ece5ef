"""The course of a training stage: which units count, which have to be done again, and when there is an end to it.

Pure: events in, commands out, in order. A unit counts once its finish was reported, and no more once a shard turns
out to lack steps of it. Whoever carries out ``Inquire`` or ``Save`` brings the answer before any other event.

Nothing ends before every unit that counts is wholly in a snapshot of every shard. A stage that ends before all its
units are done is saved once more when its workers have left, so that the model is what the shards hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import assert_never

from cirrus.core.ledger import Ledger
from cirrus.core.messages import Reopen, ToDriver, UnitDone
from cirrus.core.progress import Progress
from cirrus.until import Condition, Reached

MOST_UNITS = 500
"""Units that are reopened in one message."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a unit consists of."""

    rows: int
    steps: int


@dataclass(frozen=True, slots=True)
class Begun:
    """The shards are ready, and this is what each has applied of the stage already."""

    ledgers: Sequence[Ledger]


@dataclass(frozen=True, slots=True)
class Heard:
    """The control actor has said this."""

    at: float
    message: ToDriver


@dataclass(frozen=True, slots=True)
class ShardBack:
    """A shard was started again from its newest snapshot."""

    at: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The model was tested."""

    at: float
    loss: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""

    at: float


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to ``Inquire``: what each shard has applied of the stage."""

    at: float
    ledgers: Sequence[Ledger]


@dataclass(frozen=True, slots=True)
class Saved:
    """The answer to ``Save``: each shard's snapshot, and what it had applied of the stage then."""

    at: float
    keys: tuple[str, ...]
    ledgers: Sequence[Ledger]


CourseEvent = Begun | Heard | ShardBack | Evaluated | Tick | Applied | Saved


@dataclass(frozen=True, slots=True)
class Inquire:
    """Make the tables on every shard that lacks them, and ask all shards what they have applied."""


@dataclass(frozen=True, slots=True)
class Save:
    """Have every shard write a snapshot."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Steps of so many finished units were lost; those units are done again."""

    units: int
    steps: int


@dataclass(frozen=True, slots=True)
class Close:
    """The workers are to leave."""


@dataclass(frozen=True, slots=True)
class End:
    """The stage is done; these snapshots, one of each shard, hold the model."""

    keys: tuple[str, ...]


CourseCommand = Inquire | Save | Lost | Reopen | Close | End


class Course:
    """Decides for one stage over ``blocks`` blocks, whose units are done in ``pool``; ``size`` knows each unit."""

    def __init__(
        self, pool: str, blocks: int, until: Condition, size: Callable[[int], Size], began: float
    ) -> None:
        self._pool = pool
        self._until = until
        self._size = size
        self._progress = Progress(blocks, began)
        self._finished: set[int] = set()
        most = until.most_epochs()
        self._total = None if most is None else most * blocks
        self._held: tuple[str, ...] = ()  # the snapshots that hold all that counts, once the workers were told to leave

    @property
    def units(self) -> int:
        """How many units count."""
        return len(self._finished)

    def reached(self, at: float) -> Reached:
        """How far the stage is at ``at``, by its finished units."""
        return self._progress.reached(at)

    def applied(self, ledgers: Sequence[Ledger]) -> int:
        """How many steps of the stage all shards have applied, those of units that are not finished included."""
        closed = min(ledger.floor for ledger in ledgers)
        opened = {unit for ledger in ledgers for unit in ledger.units if unit >= closed}
        return sum(self._size(unit).steps - self._missing(unit, ledgers) for unit in (*range(closed), *opened))

    def handle(self, event: CourseEvent) -> tuple[CourseCommand, ...]:  # noqa: PLR0911  one arm an event
        """Take in what happened and say what is to be done, in this order."""
        match event:
            case Begun(ledgers):
                self._go_on(ledgers)
                return ()
            case Heard(at, message):
                return self._hear(at, message)
            case ShardBack(at):
                return (Inquire(), *self._look(at))
            case Evaluated(at, loss):
                self._progress.evaluated(loss)
                return self._look(at)
            case Tick(at):
                return self._look(at)
            case Applied(_, ledgers):
                return tuple(self._reopen(ledgers))
            case Saved(at, keys, ledgers):
                return self._saved(at, keys, ledgers)
            case _:
                assert_never(event)

    def _go_on(self, ledgers: Sequence[Ledger]) -> None:
        """Count what shards that were restored have applied: the first units that are finished on all of them."""
        unit = 0
        while not self._missing(unit, ledgers):
            self._finish(unit, self._size(unit).rows)
            unit += 1

    def _hear(self, at: float, message: ToDriver) -> tuple[CourseCommand, ...]:
        match message:
            case UnitDone(pool=self._pool, unit=unit, rows=rows):
                self._finish(unit, rows)
            case _:
                pass
        return self._look(at)

    def _finish(self, unit: int, rows: int) -> None:
        if unit not in self._finished:  # after a shard's death it may be reported again
            self._finished.add(unit)
            self._progress.finished(unit, rows)

    @property
    def _whole(self) -> bool:
        """Whether all units are done."""
        return self._total is not None and len(self._finished) >= self._total

    def _look(self, at: float) -> tuple[CourseCommand, ...]:
        """See whether the stage may end here."""
        return (Save(),) if self._met(at) else ()

    def _met(self, at: float) -> bool:
        return self._whole or self._until.met(self._progress.reached(at))

    def _saved(self, at: float, keys: tuple[str, ...], ledgers: Sequence[Ledger]) -> tuple[CourseCommand, ...]:
        lost = tuple(self._reopen(ledgers))
        if self._held:  # what was lost since then nobody is there to do again
            return (End(self._held if lost else keys),)
        if lost or not self._met(at):
            return lost
        if self._whole:
            return (Close(), End(keys))
        self._held = keys
        return (Close(), Save())

    def _reopen(self, ledgers: Sequence[Ledger]) -> Iterable[CourseCommand]:
        """Have finished units done again of which some shard lacks steps."""
        missing = {unit: self._missing(unit, ledgers) for unit in self._finished}
        units = sorted(unit for unit, steps in missing.items() if steps)
        for unit in units:
            self._finished.remove(unit)
            self._progress.reopened(unit, self._size(unit).rows)
        for start in range(0, len(units), MOST_UNITS):
            yield Reopen(self._pool, tuple(units[start : start + MOST_UNITS]))
        if units:
            yield Lost(len(units), sum(missing.values()))

    def _missing(self, unit: int, ledgers: Sequence[Ledger]) -> int:
        """How many steps of a unit the shard lacks that has the fewest."""
        return max(0, self._size(unit).steps - 1 - min(ledger.last(unit) for ledger in ledgers))
