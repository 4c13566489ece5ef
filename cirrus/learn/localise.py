"""Which rows of a table a minibatch needs, and its indices counted within them, without sorting each minibatch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.rows import Keys, Rows
from cirrus.native.choice import Marks, kernels

Places = NDArray[np.intp] | NDArray[np.uint32]

DENSE: Final = 64
"""Marks in a table of all features beat a sort where there are at most so many features for each index."""

MOST_MARKS: Final = 1 << 24
"""Features up to which such a table (5 bytes a feature, for a moment) is small beside a worker's memory."""

DIRECT: Final = 1 << 20
"""Features up to which compiled marks (4 bytes a feature, kept) need no list of a block's keys first."""


AT_ONCE: Final = 8
"""Minibatches that compiled marks find together, while a worker's steps in flight wait."""


def marks_for(features: int) -> Marks | None:
    """Compiled marks for so many features, to be kept and used again; ``None`` where there are none or too many."""
    compiled = kernels()
    return None if compiled is None or features > DIRECT else compiled.marks(features)


def compact(indices: Keys, features: int, marks: Marks | None = None) -> tuple[Keys, Places]:
    """The distinct ``indices``, ascending, and the place of each among them.

    The same as ``np.unique(indices, return_inverse=True)``. All ``indices`` are below ``features``, as which ``marks``
    are, if given.
    """
    if marks is not None:
        return _distinct(indices, marks)
    if features > min(DENSE * len(indices), MOST_MARKS):
        return np.unique(indices, return_inverse=True)
    found, places = _marked(indices.astype(np.intp), np.zeros(features, bool), np.empty(features, np.intp))
    return found.astype(np.uint32), places


class Localiser:
    """A block's indices made ready: its distinct keys are found once, so that a minibatch costs a few passes over it.

    The marks are scratch that is clean between calls; what comes out depends on the arguments alone. Compiled ``marks``
    for all features, if given, do without the block's keys.
    """

    def __init__(self, rows: Rows, features: int, marks: Marks | None = None) -> None:
        self._rows = rows
        self._keys: Keys | None = None
        self._indices: Places = rows.indices
        if marks is None:
            self._keys, places = compact(rows.indices, features)
            marks = marks_for(len(self._keys))
            self._indices = places if marks is None else places.astype(np.uint32)
            if marks is None:
                self._scratch = np.zeros(len(self._keys), bool), np.empty(len(self._keys), np.intp)
        self._marks = marks

    def minibatches(self, size: int, first: int, last: int) -> Iterator[tuple[Keys, Rows]]:
        """Those of ``size`` rows, from the ``first`` on: the keys of each, then ``last``, which is above them all."""
        bounds = [*range(first * size, len(self._rows), size), len(self._rows)]
        if self._marks is not None and self._keys is None:
            for at in range(0, len(bounds) - 1, AT_ONCE):
                yield from self._several(self._marks, bounds[at : at + AT_ONCE + 1], last)
            return
        for start, stop in pairwise(bounds):
            keys, local = self.minibatch(start, stop)
            yield np.append(keys, np.uint32(last)), local

    def _several(self, marks: Marks, bounds: list[int], last: int) -> Iterator[tuple[Keys, Rows]]:
        """The minibatches between those rows, found in one go."""
        rows = self._rows
        cuts = rows.indptr[bounds]
        values = None if rows.values is None else rows.values[cuts[0] : cuts[-1]]
        indices = self._indices[cuts[0] : cuts[-1]]
        cuts -= cuts[0]
        keys, places = np.empty(len(indices) + len(bounds), np.uint32), np.empty(len(indices), np.uint32)
        ends = np.empty(len(bounds) - 1, np.int64)
        marks.minibatches(indices, cuts, last, keys, places, ends)
        used = 0
        spans = zip(pairwise(bounds), pairwise(cuts.tolist()), ends.tolist(), strict=True)
        for (start, stop), (begin, end), until in spans:
            indptr = rows.indptr[start : stop + 1]
            own = None if values is None else values[begin:end]
            yield keys[used:until], Rows(rows.labels[start:stop], indptr - indptr[0], places[begin:end], own)
            used = until

    def minibatch(self, start: int, stop: int) -> tuple[Keys, Rows]:
        """Rows ``start`` up to ``stop`` with indices that count within their keys, and these: uint32, ascending."""
        rows = self._rows
        begin, end = int(rows.indptr[start]), int(rows.indptr[stop])
        indices = self._indices[begin:end]
        found, places = _marked(indices, *self._scratch) if self._marks is None else _distinct(indices, self._marks)
        values = None if rows.values is None else rows.values[begin:end]
        numbers = places.astype(np.uint32, copy=False)
        local = Rows(rows.labels[start:stop], rows.indptr[start : stop + 1] - begin, numbers, values)
        return found.astype(np.uint32, copy=False) if self._keys is None else self._keys.take(found), local


def _distinct(indices: Places, marks: Marks) -> tuple[Keys, Keys]:
    """The distinct indices and the place of each, by compiled marks."""
    keys, places = np.empty(len(indices), np.uint32), np.empty(len(indices), np.uint32)
    return keys[: marks.distinct(indices, keys, places)], places


def _marked(indices: Places, marks: NDArray[np.bool_], numbers: NDArray[np.intp]) -> tuple[Places, Places]:
    """The distinct indices and the place of each; ``marks`` is all False before and after."""
    marks[indices] = True
    (found,) = marks.nonzero()
    marks[found] = False
    numbers[found] = np.arange(len(found))
    return found, numbers.take(indices, mode="clip")
