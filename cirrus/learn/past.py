"""What a table was at a moment, for whoever copies it while it goes on changing: rows are kept before they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.memory import scattered
from cirrus.learn.rules import Array, Local

BLOCK: Final = 1 << 16
"""Rows that are kept in one piece of memory, and written back at once."""

LAST: Final = 255
"""The last copy that marks can tell from those before it."""


class Marks:
    """Which of a table's rows were noted for the copy that is being made: a byte for each row.

    Each copy marks rows with a number of its own, and the marks of earlier ones stay. New memory for every copy would
    make the first steps wait until the system has cleared it.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._copy = LAST
        self._copies: NDArray[np.uint8] = np.empty(0, np.uint8)

    def begin(self) -> None:
        """No row is noted."""
        self._copy = self._copy % LAST + 1
        if self._copy == 1:
            self._copies = scattered(self._rows)

    def fresh(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of the rows that were not noted before; now they are."""
        fresh: NDArray[np.intp] = rows[self._copies.take(rows, mode="clip") != self._copy]
        self._copies[fresh] = self._copy
        return fresh


class Past:
    """The ``arrays`` of a table, whose first axes are its rows, as they are when this is made.

    ``marks`` are the table's, used by one of its pasts at a time. A copy is whatever it catches of the arrays, on any
    thread, at any pace and in any order; the rows that have changed until it is complete must have been noted, and
    ``mend`` makes them what they were. Each row is kept once, so that this takes no more than the arrays do.
    """

    def __init__(self, arrays: Mapping[str, Array], marks: Marks) -> None:
        self.arrays = arrays
        self._marks = marks
        self._marks.begin()
        self._blocks: list[_Block] = []

    def note(self, local: Local) -> None:
        """Keep those rows, which are about to change; they are distinct."""
        fresh = self._marks.fresh(np.asarray(local).astype(np.intp, copy=False))
        if not len(fresh):
            return
        if not self._blocks or not self._blocks[-1].has_room(len(fresh)):
            self._blocks.append(_Block(self.arrays, max(len(fresh), BLOCK)))
        self._blocks[-1].keep(self.arrays, fresh)

    def copy(self, copies: Mapping[str, Array]) -> None:
        """Copy all as it is now to arrays of the same names and shapes; other threads run, and may change rows."""
        for name, array in self.arrays.items():
            np.copyto(copies[name], array)

    def mend(self, copies: Mapping[str, Array]) -> None:
        """Make the rows of the copies that were noted what they were; other threads run."""
        for block in self._blocks:
            block.write(copies)


class _Block:
    """Rows that were kept: the first ``used`` of so many."""

    def __init__(self, arrays: Mapping[str, Array], room: int) -> None:
        self._used = 0
        self._rows: NDArray[np.intp] = np.empty(room, np.intp)
        self._kept = {name: np.empty((room, *array.shape[1:]), array.dtype) for name, array in arrays.items()}

    def has_room(self, count: int) -> bool:
        return self._used + count <= len(self._rows)

    def keep(self, arrays: Mapping[str, Array], rows: NDArray[np.intp]) -> None:
        here = slice(self._used, self._used + len(rows))
        self._rows[here] = rows
        for name, array in arrays.items():
            array.take(rows, axis=0, out=self._kept[name][here], mode="clip")
        self._used = here.stop

    def write(self, copies: Mapping[str, Array]) -> None:
        rows = self._rows[: self._used]
        for name, kept in self._kept.items():
            copies[name][rows] = kept[: self._used]
