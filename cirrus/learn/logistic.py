"""Sparse logistic regression: log loss of margins ``x.w + intercept`` and its gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cirrus.learn.base import Batch, Gradient, Kernel, TableSpec
from cirrus.learn.localise import Localiser, compact, marks_for
from cirrus.learn.rows import Floats, Keys, Rows
from cirrus.learn.sparse import Product
from cirrus.models import LogisticRegression
from cirrus.native.choice import kernels
from cirrus.optimizers import Optimizer


class Logistic(Kernel):
    """One table, ``weights``: row ``i`` for feature ``i``, the last row for the intercept, which no penalty acts on.

    Labels are 0 or 1. A batch's keys end with the intercept's; its indices count within the keys before.
    """

    def __init__(self, spec: LogisticRegression, features: int, optimizer: Optimizer) -> None:
        self._features = features
        weights = TableSpec("weights", features + 1, 1, optimizer, l2=spec.l2, l1=spec.l1, free=features, stale="damp")
        self._tables = (weights,)
        self._product = Product()
        self._compiled = kernels()
        self._marks = marks_for(features)

    def tables(self) -> tuple[TableSpec, ...]:
        return self._tables

    def batch(self, rows: Rows, number: int) -> Batch:
        keys, places = compact(rows.indices, self._features, self._marks)
        local = Rows(rows.labels, rows.indptr, places.astype(np.uint32, copy=False), rows.values)
        return Batch((self._with_intercept(keys),), local, number)

    def batches(self, rows: Rows, size: int, first: int = 0, number: int = 0) -> Iterator[Batch]:
        localiser = Localiser(rows, self._features, self._marks)
        for step, (keys, local) in enumerate(localiser.minibatches(size, first, self._features), first):
            yield Batch((keys,), local, number + step)

    def gradient(self, batch: Batch, tables: tuple[Floats, ...]) -> Gradient:
        rows = batch.rows
        gradient = np.empty((len(batch.keys[0]), 1), np.float32)
        if self._compiled is not None:
            weights = np.ascontiguousarray(tables[0], np.float32)
            args = rows.labels, rows.indptr, rows.indices, rows.values, weights, gradient
            return Gradient((gradient,), self._compiled.logistic(*args))
        return Gradient((gradient,), self._mean_gradient(batch, tables, gradient.reshape(-1)))

    def _mean_gradient(self, batch: Batch, tables: tuple[Floats, ...], gradient: Floats) -> float:
        """Write the gradient; returns the loss."""
        rows = batch.rows
        signs = 2.0 * rows.labels - 1.0
        right = self.scores(batch, tables) * signs  # margins towards the label
        small = np.exp(-np.abs(right))  # never above 1, so nothing overflows
        loss = float((np.log1p(small) - np.minimum(right, 0.0)).sum(dtype=np.float64))
        residuals: Floats = np.where(right >= 0.0, small, np.float32(1.0))
        residuals /= small + 1.0  # the chance of the other label
        residuals *= signs * np.float32(-1.0 / max(len(rows), 1))
        gradient[:] = 0.0
        self._product.add_columns_times(rows, residuals, gradient[:-1])
        gradient[-1] = residuals.sum()
        return loss

    def scores(self, batch: Batch, tables: tuple[Floats, ...]) -> Floats:
        weights = np.ascontiguousarray(tables[0], np.float32).reshape(-1)
        margins = self._product.rows_times(batch.rows, weights[:-1])
        margins += weights[-1]
        return margins

    def _with_intercept(self, keys: Keys) -> Keys:
        whole = np.empty(len(keys) + 1, np.uint32)
        whole[:-1] = keys
        whole[-1] = self._features
        return whole
