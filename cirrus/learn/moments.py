"""Statistics of number columns that can be taken of parts and merged: counts, extremes, mean and spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cirrus.learn.columns import Doubles, Flags, Whole


@dataclass(frozen=True, slots=True)
class Moments:
    """Statistics by class of rows and column, each array of shape (classes, columns).

    ``count`` and ``missing`` (int64), ``low`` and ``high`` (infinite where there is no value), ``mean`` (0 where there
    is none) and ``spread``, the sum of squared differences from the mean (float64).
    """

    count: Whole
    missing: Whole
    low: Doubles
    high: Doubles
    mean: Doubles
    spread: Doubles

    @staticmethod
    def empty(classes: int, columns: int) -> Moments:
        """The statistics of no rows."""
        whole, zero = np.zeros((classes, columns), np.int64), np.zeros((classes, columns))
        return Moments(whole, whole, zero + np.inf, zero - np.inf, zero, zero)

    @staticmethod
    def of(columns: Sequence[Doubles], classes: int, member: Whole) -> Moments:
        """The statistics of columns whose rows belong to the classes ``member``; NaN is missing."""
        if not columns:
            return Moments.empty(classes, 0)
        return _stacked([_column(values, classes, member) for values in columns], 1)

    @staticmethod
    def merged(parts: Sequence[Moments]) -> Moments:
        """The statistics of all parts together, class by class; there must be at least one."""
        return _folded(_stacked(parts, 0))

    def pooled(self, which: Flags) -> Moments:
        """The classes flagged in ``which`` as one class."""
        chosen = _each(self, lambda whole: whole[which], lambda double: double[which])
        return _each(_folded(chosen), lambda whole: whole[None], lambda double: double[None])


def _each(moments: Moments, whole: Callable[[Whole], Whole], double: Callable[[Doubles], Doubles]) -> Moments:
    """Another view of each of the statistics."""
    return Moments(
        whole(moments.count),
        whole(moments.missing),
        double(moments.low),
        double(moments.high),
        double(moments.mean),
        double(moments.spread),
    )


def _stacked(parts: Sequence[Moments], axis: int) -> Moments:
    """The parts side by side along a new axis."""
    return Moments(
        np.stack([part.count for part in parts], axis),
        np.stack([part.missing for part in parts], axis),
        np.stack([part.low for part in parts], axis),
        np.stack([part.high for part in parts], axis),
        np.stack([part.mean for part in parts], axis),
        np.stack([part.spread for part in parts], axis),
    )


def _folded(parts: Moments) -> Moments:
    """Merge along the first axis, without loss of digits (Chan, Golub and LeVeque, 1979)."""
    total = parts.count.sum(axis=0)
    divisor = np.maximum(total, 1)
    middle = (parts.count * parts.mean).sum(axis=0) / divisor
    middle += (parts.count * (parts.mean - middle)).sum(axis=0) / divisor  # what rounding left of the first sum
    between = (parts.count * (parts.mean - middle) ** 2).sum(axis=0)
    return Moments(
        total,
        parts.missing.sum(axis=0),
        np.min(parts.low, axis=0, initial=np.inf),
        np.max(parts.high, axis=0, initial=-np.inf),
        np.where(total > 0, middle, 0.0),
        parts.spread.sum(axis=0) + between,
    )


def _column(values: Doubles, classes: int, member: Whole) -> Moments:
    """The statistics of one column by class, each array of shape (classes,)."""
    gone = np.isnan(values)
    missing = np.bincount(member[gone], minlength=classes)
    if gone.any():
        values, member = values[~gone], member[~gone]
    count = np.bincount(member, minlength=classes)
    divisor = np.maximum(count, 1)
    mean: Doubles = np.bincount(member, values, classes) / divisor
    mean += np.bincount(member, values - mean[member], classes) / divisor
    spread = np.bincount(member, (values - mean[member]) ** 2, classes).astype(np.float64)
    low, high = np.full(classes, np.inf), np.full(classes, -np.inf)
    np.minimum.at(low, member, values)
    np.maximum.at(high, member, values)
    return Moments(count, missing, low, high, mean, spread)
