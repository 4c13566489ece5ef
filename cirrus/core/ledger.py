"""Which steps a shard has applied, and who may write: the reason why every minibatch counts exactly once.

A shard keeps one ledger beside its weights and stores both in the same snapshot, so that a restored shard accepts
exactly the steps that it lost. The ``attempt`` of a unit is the number of its lease: it grows with each grant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

NONE = -1
"""The last step of a unit of which nothing was applied."""

ALL = 2**31 - 1
"""The last step of a unit that is closed: whatever comes has been applied."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The attempt may write; ``last`` is the last step applied: -1 for none, ``ALL`` for a closed unit."""

    last: int


@dataclass(frozen=True, slots=True)
class Stale:
    """A newer attempt, ``current``, may write instead."""

    current: int


class Verdict(Enum):
    """What becomes of a step that is pushed."""

    APPLY = "apply"
    DUPLICATE = "duplicate"
    STALE = "stale"
    GAP = "gap"


_APPLY = Verdict.APPLY  # Python 3.11 runs code each time that a member is named, and this one is named at every step


class Ledger:
    """For each open unit the attempt that may write and the last step applied; below the floor all is applied."""

    def __init__(self) -> None:
        self._floor = 0
        self._units: dict[int, list[int]] = {}  # unit -> [attempt, last]

    @property
    def floor(self) -> int:
        """The units below are closed."""
        return self._floor

    @property
    def units(self) -> tuple[int, ...]:
        """The units that were opened and are not closed."""
        return tuple(self._units)

    @property
    def highest(self) -> int:
        """The highest attempt of any open unit; 0 where there is none."""
        return max((attempt for attempt, _ in self._units.values()), default=0)

    def open(self, unit: int, attempt: int) -> Opened | Stale:
        """Let ``attempt`` write to ``unit`` from now on, and no smaller one; the same attempt may open it again.

        A closed unit opens too: another shard may have lost steps of it, and then this one takes them as duplicates.
        """
        if unit < self._floor:
            return Opened(ALL)
        entry = self._units.setdefault(unit, [attempt, NONE])
        if attempt < entry[0]:
            return Stale(entry[0])
        entry[0] = attempt
        return Opened(entry[1])

    def judge(self, unit: int, attempt: int, step: int) -> Verdict:
        """Say what becomes of a step, and record it where it is to be applied; steps count from 0.

        ``GAP`` (a step before it is missing) breaks the protocol. A unit that was not opened makes every attempt stale.
        """
        if unit < self._floor:
            return Verdict.DUPLICATE
        entry = self._units.get(unit)
        if entry is None or entry[0] != attempt:
            return Verdict.STALE
        if step <= entry[1]:
            return Verdict.DUPLICATE
        if step > entry[1] + 1:
            return Verdict.GAP
        entry[1] = step
        return _APPLY

    def last(self, unit: int) -> int:
        """The last step applied: -1 for none, ``ALL`` for a closed unit."""
        if unit < self._floor:
            return ALL
        entry = self._units.get(unit)
        return NONE if entry is None else entry[1]

    def close_below(self, unit: int) -> None:
        """Forget the units below ``unit``, all of whose steps are applied; a floor never falls."""
        if unit <= self._floor:
            return
        self._floor = unit
        for old in [one for one in self._units if one < unit]:
            del self._units[old]

    def void(self) -> None:
        """Make every attempt that has opened a unit stale: what it pushes is for nobody any more."""
        self._units.clear()

    def dump(self) -> list[int]:
        """Everything as whole numbers: the floor, then unit, attempt and last step of each open unit, ascending."""
        flat = [self._floor]
        for unit, (attempt, last) in sorted(self._units.items()):
            flat += (unit, attempt, last)
        return flat

    @classmethod
    def load(cls, flat: Sequence[int]) -> Ledger:
        """The ledger that was dumped; ``ValueError`` where it is not one."""
        if len(flat) % 3 != 1 or any(type(one) is not int or one < NONE for one in flat) or flat[0] < 0:
            raise ValueError("not a ledger: expected the floor, then unit, attempt and last step of each open unit")
        ledger = cls()
        ledger._floor = flat[0]
        ledger._units = {flat[k]: [flat[k + 1], flat[k + 2]] for k in range(1, len(flat), 3)}
        return ledger
