"""How good decision values are: exact figures, in double precision, over as many blocks as there are.

``labels`` are 0 or 1, ``scores`` are margins (log odds); both of shape (n,). A figure that is not defined is NaN: any
figure of no rows, the area under the curve of one class alone, whatever follows from a score that is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.sigmoid import log_sigmoid

Labels = NDArray[np.float32] | NDArray[np.float64]


def log_loss(labels: Labels, scores: Labels) -> float:
    """The mean negative log likelihood of the labels, finite for every finite margin."""
    if not len(labels):
        return math.nan
    signed = np.where(labels > 0.5, scores, np.negative(scores)).astype(np.float64)
    return -float(log_sigmoid(signed).mean())


def accuracy(labels: Labels, scores: Labels) -> float:
    """The share of rows whose margin is above 0 exactly where their label is 1."""
    if not len(labels) or np.isnan(scores).any():
        return math.nan
    return float(np.mean((scores > 0) == (labels > 0.5)))


def auc(labels: Labels, scores: Labels) -> float:
    """The chance that a row of label 1 has the larger score than one of label 0, ties counting half."""
    positive = labels > 0.5
    ones = int(np.count_nonzero(positive))
    zeros = len(labels) - ones
    if not ones or not zeros or np.isnan(scores).any():
        return math.nan
    ranks = _midranks(scores)
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def _midranks(scores: Labels) -> NDArray[np.float64]:
    """Each score's place in ascending order from 1, equal scores sharing the mean of theirs."""
    order = np.argsort(scores)
    ascending = scores[order]
    firsts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    counts = np.diff(firsts, append=len(scores))
    ranks = np.empty(len(scores))
    ranks[order] = np.repeat(firsts + (counts + 1) / 2, counts)
    return ranks


class Evaluation:
    """Figures over blocks in any order: ``add`` each block, ``merge`` what somebody else has added up."""

    def __init__(self) -> None:
        self._labels: list[Labels] = []
        self._scores: list[Labels] = []

    def add(self, labels: Labels, scores: Labels) -> None:
        """Count a block's rows; the arrays are kept."""
        if labels.shape != scores.shape or labels.ndim != 1:
            raise ValueError(f"labels of shape {labels.shape} and scores of shape {scores.shape}")
        self._labels.append(labels)
        self._scores.append(scores)

    def merge(self, other: Evaluation) -> None:
        """Count the rows of another evaluation as well."""
        self._labels.extend(other._labels)
        self._scores.extend(other._scores)

    @property
    def rows(self) -> int:
        """Rows counted."""
        return sum(len(labels) for labels in self._labels)

    @property
    def log_loss(self) -> float:
        """See the function of that name."""
        return log_loss(*self._whole())

    @property
    def auc(self) -> float:
        """See the function of that name."""
        return auc(*self._whole())

    @property
    def accuracy(self) -> float:
        """See the function of that name."""
        return accuracy(*self._whole())

    def _whole(self) -> tuple[Labels, Labels]:
        if not self._labels:
            return np.empty(0), np.empty(0)
        return np.concatenate(self._labels, dtype=np.float64), np.concatenate(self._scores, dtype=np.float64)
