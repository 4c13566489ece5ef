"""Which rows are set aside for testing: a pure function of where a row stands, however the input is cut up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cirrus.learn.columns import Doubles, Flags, Parsed, Whole, Words
from cirrus.steps import Every

NONE = 0.0
"""The rule by which no row is a test row."""

ALL = 1.0
"""The rule by which every row is one."""

_U64 = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Holdout:
    """The rule: ``Every``, or a fraction of the rows that ``seed`` chooses; a fraction of 0 sets nothing aside."""

    rule: float | Every
    seed: int = 0

    @property
    def classes(self) -> int:
        """In how many classes statistics must be kept until the number of a split's first row is known."""
        return self.rule.count if isinstance(self.rule, Every) else 1

    def test_rows(self, parsed: Parsed, first_row: int, number: int, offset: int) -> Flags:
        """A flag on each good row that is a test row.

        ``first_row``: the number of the chunk's first row among all rows of the input, bad rows counted. ``number``:
        the object's number in the input. ``offset``: where the chunk begins in the object, uncompressed, in bytes.
        """
        if isinstance(self.rule, Every):
            chosen: Flags = (parsed.positions + first_row) % self.rule.count == self.rule.at
        else:
            chosen = uniform(self.seed, number, parsed.offsets + offset) < self.rule
        return chosen


def uniform(seed: int, number: int, offsets: Whole) -> Doubles:
    """A number in [0, 1) for each byte offset in the ``number``-th object, by splitmix64 (Steele and others, 2014)."""
    base = np.full(1, seed & _U64, np.uint64)
    stream = _mixed(_mixed(base) ^ np.uint64(number & _U64))
    return (_mixed(stream ^ offsets.astype(np.uint64)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: Words) -> Words:
    """One step of splitmix64 on each number."""
    mixed = state + np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
