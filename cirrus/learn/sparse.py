"""Products of sparse rows with vectors by scipy's compiled loops, without the price of making a matrix of them.

``csr_array(...)``, its ``@`` and its transpose cost about 50 us a minibatch in checks and copies; the loops beneath,
which have had the same arguments since scipy began, cost 8 us for 100 rows. They are one compiled module, which is
loaded by itself: a worker's start would pay 300 ms of processor time for ``import scipy.sparse``. Where there is no
scipy, as in a serverless function, numpy counts: that costs three times as much.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.rows import Floats, Rows

_LOOPS = "_sparsetools"


def _loops() -> Any:
    """The module of the loops, without its package where that is not loaded already; ``None`` without scipy."""
    whole = f"scipy.sparse.{_LOOPS}"
    scipy = PathFinder.find_spec("scipy")
    if scipy is None:
        return None
    if whole not in sys.modules and scipy.submodule_search_locations:
        folders = [f"{folder}/sparse" for folder in scipy.submodule_search_locations]
        spec = PathFinder.find_spec(_LOOPS, folders)
        if spec is not None and spec.loader is not None:
            alone = module_from_spec(spec)
            spec.loader.exec_module(alone)
            return alone
    return importlib.import_module(whole)


_sparsetools = _loops()


class Product:
    """Minibatches as matrices of shape (n, width); repeated indices in a row add, their order does not matter."""

    def __init__(self) -> None:
        self._ones: Floats = np.ones(0, np.float32)

    def rows_times(self, rows: Rows, vector: Floats) -> Floats:
        """``rows @ vector``, float32 of shape (n,); ``vector`` has shape (width,)."""
        if _sparsetools is None:
            return _sums(_row_numbers(rows), vector[rows.indices], rows.values, len(rows))
        out: Floats = np.zeros(len(rows), np.float32)
        _sparsetools.csr_matvec(len(rows), len(vector), *self._parts(rows), vector, out)
        return out

    def add_columns_times(self, rows: Rows, vector: Floats, out: Floats) -> None:
        """Add ``rows.T @ vector`` to ``out``, contiguous float32 of shape (width,); ``vector`` has shape (n,)."""
        if _sparsetools is None:
            out += _sums(rows.indices, vector[_row_numbers(rows)], rows.values, len(out))
            return
        _sparsetools.csc_matvec(len(out), len(rows), *self._parts(rows), vector, out)

    def _parts(self, rows: Rows) -> tuple[NDArray[np.int32], NDArray[np.int32], Floats]:
        values = rows.values
        if values is None:
            if len(rows.indices) > len(self._ones):
                self._ones = np.ones(2 * len(rows.indices), np.float32)
            values = self._ones
        return rows.indptr.astype(np.int32), rows.indices.view(np.int32), values


def _row_numbers(rows: Rows) -> NDArray[np.int64]:
    """The row of each value."""
    return np.repeat(np.arange(len(rows)), np.diff(rows.indptr))


def _sums(places: NDArray[Any], numbers: Floats, values: Floats | None, size: int) -> Floats:
    """What falls on each of ``size`` places, float32; each number counts as often as its value says."""
    weights = numbers if values is None else numbers * values
    return np.bincount(places, weights, size).astype(np.float32)
