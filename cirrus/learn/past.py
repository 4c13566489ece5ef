"""What a table was at a moment, for whoever copies it while it goes on changing: rows are kept before they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.rules import Array, Local

BLOCK: Final = 1 << 16
"""Rows that are kept in one piece of memory, and written back at once."""


class Past:
    """The ``arrays`` of a table, whose first axes are its rows, as they are when this is made.

    A copy is whatever it catches of the arrays, on any thread, at any pace and in any order; the rows that have changed
    until it is complete must have been noted, and ``mend`` makes them what they were. Each row is kept once, so that
    this takes a byte for each row, and no more beside that than the arrays do.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays
        rows = len(next(iter(arrays.values())))
        self._noted = np.zeros(rows, np.bool_)
        self._blocks: list[_Block] = []

    def note(self, local: Local) -> None:
        """Keep those rows, which are about to change; they are distinct."""
        rows = np.asarray(local).astype(np.intp, copy=False)
        fresh = rows[~self._noted.take(rows, mode="clip")]
        if not len(fresh):
            return
        self._noted[fresh] = True
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
