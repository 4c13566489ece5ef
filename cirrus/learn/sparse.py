"""Products of sparse rows with vectors by scipy's compiled loops, without the price of making a matrix of them.

``csr_array(...)``, its ``@`` and its transpose cost about 50 us a minibatch in checks and copies; the loops beneath,
which have had the same arguments since scipy began, cost 8 us for 100 rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import _sparsetools

from cirrus.learn.rows import Floats, Rows


class Product:
    """Minibatches as matrices of shape (n, width); repeated indices in a row add, their order does not matter."""

    def __init__(self) -> None:
        self._ones: Floats = np.ones(0, np.float32)

    def rows_times(self, rows: Rows, vector: Floats) -> Floats:
        """``rows @ vector``, float32 of shape (n,); ``vector`` has shape (width,)."""
        out: Floats = np.zeros(len(rows), np.float32)
        _sparsetools.csr_matvec(len(rows), len(vector), *self._parts(rows), vector, out)
        return out

    def columns_times(self, rows: Rows, vector: Floats, width: int) -> Floats:
        """``rows.T @ vector``, float32 of shape (width,); ``vector`` has shape (n,)."""
        out: Floats = np.zeros(width, np.float32)
        _sparsetools.csc_matvec(width, len(rows), *self._parts(rows), vector, out)
        return out

    def _parts(self, rows: Rows) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats]:
        values = rows.values
        if values is None:
            if len(rows.indices) > len(self._ones):
                self._ones = np.ones(2 * len(rows.indices), np.float32)
            values = self._ones
        return rows.indptr.astype(np.int32), rows.indices.view(np.int32), values
