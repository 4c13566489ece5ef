"""Labelled sparse rows: the one shape in which data pass from preparation to learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cirrus.native.choice import Kernels, kernels

Floats = NDArray[np.float32]
Keys = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Rows:
    """``n`` labelled rows as a compressed sparse row matrix.

    ``labels``: float32 of shape (n,), 0 or 1 for classification. ``indptr``: int64 of shape (n + 1,), where each row's
    values begin. ``indices``: uint32 of shape (nnz,), feature numbers; within a row they are in no order and may
    repeat, and then their values add. ``values``: float32 of shape (nnz,), or ``None`` where every value is 1.
    """

    labels: Floats
    indptr: NDArray[np.int64]
    indices: Keys
    values: Floats | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, order: NDArray[np.int64]) -> Rows:
        """The rows of those numbers, in that order, as a copy."""
        compiled = kernels()
        if compiled is not None:
            return self._taken(compiled, order)
        starts = self.indptr[order]
        lengths = self.indptr[order + 1] - starts
        indptr = np.zeros(len(order) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        where = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], lengths)
        values = None if self.values is None else self.values[where]
        return Rows(self.labels[order], indptr, self.indices[where], values)

    def _taken(self, compiled: Kernels, order: NDArray[np.int64]) -> Rows:
        """The same as ``take`` in one pass."""
        most = int((self.indptr[order + 1] - self.indptr[order]).sum())
        indptr, indices = np.empty(len(order) + 1, np.int64), np.empty(most, np.uint32)
        values = None if self.values is None else np.empty(most, np.float32)
        compiled.take_lines(order, self.indptr, self.indices, self.values, indptr, indices, values)
        return Rows(self.labels[order], indptr, indices, values)

    def slice(self, start: int, stop: int) -> Rows:
        """Rows ``start`` up to ``stop``, without copying values."""
        begin, end = int(self.indptr[start]), int(self.indptr[stop])
        values = None if self.values is None else self.values[begin:end]
        return Rows(self.labels[start:stop], self.indptr[start : stop + 1] - begin, self.indices[begin:end], values)


def concatenate(parts: Sequence[Rows]) -> Rows:
    """All rows of ``parts``, at least one, in order, as a copy."""
    labels = np.concatenate([part.labels for part in parts])
    indices = np.concatenate([part.indices for part in parts])
    lengths = np.concatenate([np.diff(part.indptr) for part in parts])
    indptr = np.zeros(len(labels) + 1, np.int64)
    np.cumsum(lengths, out=indptr[1:])
    if all(part.values is None for part in parts):
        return Rows(labels, indptr, indices)
    values = [np.ones(len(part.indices), np.float32) if part.values is None else part.values for part in parts]
    return Rows(labels, indptr, indices, np.concatenate(values))
