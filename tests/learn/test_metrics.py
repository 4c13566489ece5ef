"""The figures equal scikit-learn's, over one block or many."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from cirrus.learn.metrics import Evaluation, Labels, accuracy, auc, log_loss


def some(seed: int, count: int, ties: int) -> tuple[Labels, Labels]:
    """Labels of both classes, and scores that take about ``ties`` values."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.3).astype(np.float32)
    labels[:2] = 0, 1
    return labels, (np.round(rng.normal(size=count) * ties) / ties).astype(np.float32)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 400), ties=st.sampled_from([1, 3, 10**6]))
def test_figures_are_sklearns(seed: int, count: int, ties: int) -> None:
    labels, scores = some(seed, count, ties)
    chance = 1 / (1 + np.exp(-scores.astype(np.float64)))
    assert log_loss(labels, scores) == pytest.approx(reference.log_loss(labels, chance), abs=1e-9)
    assert auc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-9)
    assert accuracy(labels, scores) == pytest.approx(reference.accuracy_score(labels, scores > 0), abs=1e-9)


def test_blocks_add_up_in_any_order() -> None:
    labels, scores = some(1, 1000, 5)
    whole, first, second = Evaluation(), Evaluation(), Evaluation()
    for start in range(0, 1000, 300):
        into = first if start % 600 else second
        into.add(labels[start : start + 300], scores[start : start + 300])
    whole.merge(first)
    whole.merge(second)
    assert whole.rows == 1000
    assert first.rows == 400
    assert whole.auc == pytest.approx(auc(labels, scores), abs=1e-12)
    assert whole.log_loss == pytest.approx(log_loss(labels, scores), abs=1e-12)
    assert whole.accuracy == accuracy(labels, scores)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_has_no_area_under_the_curve(label: float) -> None:
    labels = np.full(5, label, np.float32)
    assert math.isnan(auc(labels, np.arange(5.0)))
    assert math.isfinite(log_loss(labels, np.arange(5.0)))


def test_no_rows_have_no_figures() -> None:
    empty = Evaluation()
    assert empty.rows == 0
    assert all(math.isnan(figure) for figure in (empty.log_loss, empty.auc, empty.accuracy))


def test_a_score_that_is_no_number_makes_no_figure_that_is_one() -> None:
    labels, scores = some(2, 10, 5)
    scores[4] = math.nan
    assert all(math.isnan(figure(labels, scores)) for figure in (log_loss, auc, accuracy))


def test_margins_of_any_size_have_a_finite_loss() -> None:
    scores = np.array([-1e30, 1e30, -1e30, 1e30], np.float32)
    assert log_loss(np.array([0, 1, 0, 1], np.float32), scores) == 0.0
    assert log_loss(np.array([1, 0, 1, 0], np.float32), scores) == pytest.approx(1e30)


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        Evaluation().add(np.zeros(3, np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="shape"):
        Evaluation().add(np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32))
