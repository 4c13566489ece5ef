"""Logistic regression: loss and gradient are those of the formula, whatever the rows look like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cirrus.learn.base import Batch, Kernel
from cirrus.learn.logistic import Logistic
from cirrus.learn.rows import Floats, Rows
from cirrus.models import LogisticRegression
from cirrus.optimizers import Adagrad

pytestmark = pytest.mark.usefixtures("loops")

FEATURES = 50


def some_rows(seed: int, count: int = 30) -> Rows:
    """Rows of 0 to 7 values, unsorted, repeating indices within a row."""
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 8, count))])
    indices = rng.integers(0, FEATURES, indptr[-1]).astype(np.uint32)
    labels = (rng.random(count) < 0.4).astype(np.float32)
    return Rows(labels, indptr, indices, rng.normal(size=indptr[-1]).astype(np.float32))


def dense(rows: Rows, columns: int) -> NDArray[np.float64]:
    whole = np.zeros((len(rows), columns))
    row = np.repeat(np.arange(len(rows)), np.diff(rows.indptr))
    np.add.at(whole, (row, rows.indices), 1.0 if rows.values is None else rows.values)
    return whole


def kernel() -> Logistic:
    return Logistic(LogisticRegression(l2=1e-3, l1=1e-4), FEATURES, Adagrad())


def pulled(batch: Batch, weights: NDArray[np.float64]) -> tuple[Floats, ...]:
    return (weights[batch.keys[0]].astype(np.float32)[:, None],)


def objective(rows: Rows, weights: NDArray[np.float64]) -> float:
    margins = dense(rows, FEATURES) @ weights[:-1] + weights[-1]
    return float(np.mean(np.logaddexp(0, margins) - rows.labels * margins))


def test_the_table_is_one_row_a_feature_and_a_free_intercept() -> None:
    (table,) = kernel().tables()
    assert (table.name, table.rows, table.width, table.free) == ("weights", FEATURES + 1, 1, FEATURES)
    assert (table.l2, table.l1, table.optimizer) == (1e-3, 1e-4, Adagrad())


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40))
def test_loss_scores_and_gradient_are_the_formula(seed: int, count: int) -> None:
    rows = some_rows(seed, count)
    weights = np.random.default_rng(seed).normal(size=FEATURES + 1)
    batch = kernel().batch(rows, 0)
    found = kernel().gradient(batch, pulled(batch, weights))
    x = np.hstack([dense(rows, FEATURES), np.ones((count, 1))])
    margins = x @ weights
    gradient = x.T @ (1 / (1 + np.exp(-margins)) - rows.labels) / count
    assert found.tables[0].dtype == np.float32
    np.testing.assert_allclose(found.tables[0][:, 0], gradient[batch.keys[0]], atol=2e-5)
    np.testing.assert_allclose(kernel().scores(batch, pulled(batch, weights)), margins, atol=2e-4)
    assert found.loss == pytest.approx(count * objective(rows, weights), abs=1e-3)
    others = np.delete(gradient, batch.keys[0])
    assert not others.any()


def test_the_gradient_is_the_finite_difference_of_the_loss() -> None:
    rows = some_rows(1)
    weights = np.random.default_rng(2).normal(size=FEATURES + 1) * 0.5
    batch = kernel().batch(rows, 0)
    gradient = kernel().gradient(batch, pulled(batch, weights)).tables[0][:, 0]
    for key, slope in zip(batch.keys[0], gradient, strict=True):
        step = np.zeros_like(weights)
        step[key] = 1e-5
        measured = (objective(rows, weights + step) - objective(rows, weights - step)) / 2e-5
        assert slope == pytest.approx(measured, abs=1e-6)


@pytest.mark.parametrize("margin", [-1e30, -500.0, -20.0, 0.0, 20.0, 500.0, 1e30])
def test_no_margin_is_too_large(margin: float) -> None:
    rows = Rows(np.array([0, 1], np.float32), np.array([0, 1, 2]), np.zeros(2, np.uint32))
    batch = kernel().batch(rows, 0)
    found = kernel().gradient(batch, (np.array([[margin], [0.0]], np.float32),))
    assert found.loss == pytest.approx(np.logaddexp(0, margin) + np.logaddexp(0, -margin), rel=1e-6)
    assert np.isfinite(found.tables[0]).all()


def test_values_of_one_need_not_be_written() -> None:
    rows = some_rows(3)
    ones = Rows(rows.labels, rows.indptr, rows.indices, np.ones(len(rows.indices), np.float32))
    without = Rows(rows.labels, rows.indptr, rows.indices)
    weights = np.random.default_rng(2).normal(size=FEATURES + 1)
    batch = kernel().batch(ones, 0)
    first = kernel().gradient(batch, pulled(batch, weights))
    second = kernel().gradient(kernel().batch(without, 0), pulled(batch, weights))
    np.testing.assert_array_equal(first.tables[0], second.tables[0])
    assert first.loss == second.loss


def test_gradients_keep_nothing_of_each_other() -> None:
    one = kernel()
    weights = np.random.default_rng(2).normal(size=FEATURES + 1)
    batches = [one.batch(some_rows(seed, count), seed) for seed, count in enumerate([30, 3, 60, 1])]
    together = [one.gradient(batch, pulled(batch, weights)) for batch in batches]
    for batch, found in zip(batches, together, strict=True):
        alone = kernel().gradient(batch, pulled(batch, weights))
        np.testing.assert_array_equal(found.tables[0], alone.tables[0])


def same(one: Batch, other: Batch) -> None:
    assert one.number == other.number
    np.testing.assert_array_equal(one.keys[0], other.keys[0])
    assert one.keys[0].dtype == np.uint32
    for field in ("labels", "indptr", "indices", "values"):
        np.testing.assert_array_equal(getattr(one.rows, field), getattr(other.rows, field))


@pytest.mark.parametrize(("size", "first"), [(7, 0), (7, 2), (30, 0), (100, 0), (10, 3)])
def test_batches_of_a_block_are_its_batches_one_by_one(size: int, first: int) -> None:
    rows = some_rows(4)
    block = list(kernel().batches(rows, size, first, 40))
    single = list(Kernel.batches(kernel(), rows, size, first, 40))
    assert [batch.number for batch in block] == list(range(40 + first, 40 - (-30 // size)))
    for one, other in zip(block, single, strict=True):
        same(one, other)
        assert one.keys[0][-1] == FEATURES


def test_a_block_without_rows_has_no_batches_and_a_batch_without_rows_has_no_gradient() -> None:
    empty = some_rows(0, 0)
    assert list(kernel().batches(empty, 5)) == []
    found = kernel().gradient(kernel().batch(empty, 0), (np.ones((1, 1), np.float32),))
    assert found.loss == 0.0
    assert not found.tables[0].any()
