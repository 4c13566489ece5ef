"""Which rows of a table a minibatch needs, and its indices counted within them, without sorting each minibatch."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.rows import Keys, Rows

Places = NDArray[np.intp]

DENSE: Final = 64
"""Marks in a table of all features beat a sort where there are at most so many features for each index."""

MOST_MARKS: Final = 1 << 24
"""Features up to which such a table (5 bytes a feature, for a moment) is small beside a worker's memory."""


def compact(indices: Keys, features: int) -> tuple[Keys, Places]:
    """The distinct ``indices``, ascending, and the place of each among them.

    The same as ``np.unique(indices, return_inverse=True)``. All ``indices`` are below ``features``.
    """
    if features > min(DENSE * len(indices), MOST_MARKS):
        keys, places = np.unique(indices, return_inverse=True)
        return keys, places
    found, places = _marked(indices.astype(np.intp), np.zeros(features, bool), np.empty(features, np.intp))
    return found.astype(np.uint32), places


class Localiser:
    """A block's indices made ready: its distinct keys are found once, so that a minibatch costs a few passes over it.

    The marks are scratch that is clean between calls; what comes out depends on the arguments alone.
    """

    def __init__(self, rows: Rows, features: int) -> None:
        self._rows = rows
        self._keys, self._places = compact(rows.indices, features)
        self._marks = np.zeros(len(self._keys), bool)
        self._numbers = np.empty(len(self._keys), np.intp)

    def minibatch(self, start: int, stop: int) -> tuple[Keys, Rows]:
        """Rows ``start`` up to ``stop`` with indices that count within their keys, and these: uint32, ascending."""
        rows = self._rows
        begin, end = int(rows.indptr[start]), int(rows.indptr[stop])
        found, places = _marked(self._places[begin:end], self._marks, self._numbers)
        values = None if rows.values is None else rows.values[begin:end]
        local = Rows(rows.labels[start:stop], rows.indptr[start : stop + 1] - begin, places.astype(np.uint32), values)
        return self._keys.take(found), local


def _marked(indices: Places, marks: NDArray[np.bool_], numbers: Places) -> tuple[Places, Places]:
    """The distinct indices and the place of each; ``marks`` is all False before and after."""
    marks[indices] = True
    (found,) = marks.nonzero()
    marks[found] = False
    numbers[found] = np.arange(len(found))
    return found, numbers.take(indices, mode="clip")
