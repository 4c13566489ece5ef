"""L2 and L1 penalties that act on every row at every step and cost something only when a row is touched.

A step leaves ``|w|`` at ``max(0, r * |w| - s)``. After ``m`` steps without a gradient that is, in closed form,
``max(0, r**m * |w| - (l1 / l2) * (1 - r**m))``, or ``max(0, |w| - m * rate * l1)`` without an L2 penalty. The factor is
``r = 1 - rate*l2`` where a rule has one rate, ``s = rate*l1`` (truncated gradient, Langford, Li and Zhang, 2009), and
``r = 1 / (1 + eta*l2)``, ``s = r*eta*l1`` where each weight has its rate ``eta`` (composite mirror descent, Duchi,
Hazan and Singer, 2011).

Penalties are not damped like stale steps: they depend on nothing that a worker computed, so they are never late, and
damping them would move the optimum with the number of workers.
"""

from __future__ import annotations

import math

import numpy as np

from cirrus.learn.memory import zeros
from cirrus.learn.rows import Floats
from cirrus.learn.rules import Local, Weighted

_LEAST = 1e-30


class Penalty:
    """Settles what a rule's rows owe; ``touched`` is the clock up to which each row has paid."""

    def __init__(self, rule: Weighted, l2: float, l1: float, free: int | None) -> None:
        self._rule = rule
        self._l2 = l2
        self._l1 = l1
        self._free = free
        self.touched = zeros(rule.shape[:1], np.int32)

    def settle(self, local: Local) -> Floats:
        """Write what those rows' weights have become by now, and return it as a new array."""
        weights = self.settled(local)
        self._rule.weights[local] = weights
        self.touched[local] = self._rule.clock
        return weights

    def settled(self, local: Local) -> Floats:
        """What those rows' weights have become by now, as a new array; nothing is written."""
        weights = self._rule.values(local)
        missed = (self._rule.clock - self.touched.take(local, mode="clip")).astype(np.float32)
        if self._free is not None:
            at = int(local.searchsorted(self._free))
            if at < len(local) and local[at] == self._free:
                missed[at] = 0.0
        self._shrink(weights, missed.reshape((-1,) + (1,) * (weights.ndim - 1)), self._rule.rates(local))
        return weights

    def _shrink(self, weights: Floats, missed: Floats, rates: float | Floats) -> None:
        if not self._l2:
            _truncate(weights, missed * rates * np.float32(self._l1))
            return
        lost = np.expm1(missed * self._decay(rates))  # r**m - 1, precise also where that is tiny
        np.add(weights, weights * lost, out=weights)
        if self._l1:
            _truncate(weights, lost * np.float32(-self._l1 / self._l2))

    def _decay(self, rates: float | Floats) -> np.float32 | Floats:
        """The logarithm of ``r``."""
        if isinstance(rates, float):
            return np.float32(math.log(max(1.0 - rates * self._l2, _LEAST)))
        decay: Floats = np.log1p(rates * np.float32(self._l2))
        return np.negative(decay, out=decay)


def _truncate(weights: Floats, by: Floats) -> None:
    """Move weights towards 0 by as much, and no further, in place."""
    size = np.abs(weights)
    np.subtract(size, by, out=size)
    np.maximum(size, 0.0, out=size)
    np.copysign(size, weights, out=weights)
