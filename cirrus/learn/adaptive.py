"""AdaGrad and FTRL-proximal on one shard's rows, with amends for gradients that were computed on old weights.

Many workers at once push gradients that do not know of each other. After McMahan and Streeter, *Delay-Tolerant
Algorithms for Asynchronous Distributed Online Learning* (2014), a table keeps the running sum of each weight's
gradients. What was added since a worker pulled, ``late``, is what its gradient ``g`` does not know of:

* where both point the same way the same news is told again, and the accumulator grows by ``g*g + 2*C*g*late``;
* steps taken since the pull are taken back by as much as the rate has shrunk: ``w += (rate before - rate now) * late``.

With one step in flight ``late`` is 0 and both rules are the textbook's. The paper has ``C = 1`` and lets opposite
gradients shrink the accumulator, under a running maximum, which costs an array more and gains nothing here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from cirrus import optimizers
from cirrus.learn.base import TableSpec
from cirrus.learn.rows import Floats
from cirrus.learn.rules import Array, Local, Rule, Shape, Weighted

CORRELATION: Final = 0.2
"""``C`` above: 1 learns slowly when hundreds of steps are in flight, below 0.1 the weights swing for long."""


class Sums:
    """The running sum of each weight's gradients, kept as soon as somebody asks for it.

    No part of a snapshot: only differences since a pull matter, and no pull outlives its shard.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._sums: Floats | None = None

    def mark(self, local: Local) -> Floats:
        """The sums of those rows now."""
        if self._sums is None:
            self._sums = np.zeros(self._shape, np.float32)
        return self._sums.take(local, axis=0, mode="clip")

    def add(self, local: Local, gradient: Floats, since: Floats | None) -> Floats | None:
        """Add a gradient; returns what had been added since the mark, or ``None`` without one."""
        if self._sums is None:
            return None
        now = self._sums.take(local, axis=0, mode="clip")
        late = None if since is None else now - since
        np.add(now, gradient, out=now)
        self._sums[local] = now
        return late


def grow(squares: Floats, gradient: Floats, late: Floats | None, buffers: tuple[Floats, Floats]) -> None:
    """Add to the accumulator what a gradient brings, in place: the larger of ``g*g`` and ``g * (g + 2*C*late)``."""
    news, buffer = buffers
    np.multiply(gradient, gradient, out=news)
    if late is not None:
        np.multiply(late, 2.0 * CORRELATION, out=buffer)
        np.add(buffer, gradient, out=buffer)
        np.multiply(buffer, gradient, out=buffer)
        np.maximum(news, buffer, out=news)
    np.add(squares, news, out=squares)


class AdagradRule(Weighted):
    """``a += g*g; w -= rate * g / sqrt(a)``."""

    def __init__(self, spec: optimizers.Adagrad, shape: Shape) -> None:
        super().__init__(shape, buffers=3)
        self.rate = spec.rate
        self.squares: Floats = np.full(shape, spec.initial, np.float32)
        self.sums = Sums(shape)

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights, "squares": self.squares}

    def mark(self, local: Local) -> Floats:
        return self.sums.mark(local)

    def rates(self, local: Local) -> Floats:
        rates = self.squares.take(local, axis=0, mode="clip")
        np.sqrt(rates, out=rates)
        return np.divide(self.rate, rates, out=rates)

    def step(self, local: Local, gradient: Floats, scale: float, since: Floats | None) -> None:
        squares, change, buffer = self.scratch(len(local))
        scaled = gradient if scale == 1.0 else gradient * np.float32(scale)
        late = self.sums.add(local, scaled, since)
        self.squares.take(local, axis=0, out=squares, mode="clip")
        undone = None if late is None else late / np.sqrt(squares)
        grow(squares, gradient, late, (change, buffer))
        self.squares[local] = squares
        np.sqrt(squares, out=squares)
        if late is None or undone is None:
            np.divide(scaled, squares, out=change)
        else:
            np.add(scaled, late, out=change)
            np.divide(change, squares, out=change)
            np.subtract(change, undone, out=change)
        np.multiply(change, self.rate, out=change)
        self.subtract(local, change, buffer)


class FtrlRule(Rule):
    """FTRL-proximal (McMahan et al., 2013): the weights follow in closed form from ``z`` and ``n``.

    Penalties are per step, so after ``t`` steps ``w = -soft(z, t*l1) / ((beta + sqrt(n)) / rate + t*l2)``: the same
    objective as under the other rules (McMahan, *Follow-the-Regularized-Leader and Mirror Descent*, 2011).
    """

    def __init__(self, table: TableSpec, spec: optimizers.FTRL, shape: Shape, free: int | None) -> None:
        super().__init__(shape, buffers=4)
        self.table = table
        self.spec = spec
        self.free = free
        self.z: Floats = np.zeros(shape, np.float32)
        self.n: Floats = np.zeros(shape, np.float32)
        self.sums = Sums(shape)

    def arrays(self) -> dict[str, Array]:
        return {"z": self.z, "n": self.n}

    def mark(self, local: Local) -> Floats:
        return self.sums.mark(local)

    def values(self, local: Local) -> Floats:
        z = self.z.take(local, axis=0, mode="clip")
        n = self.n.take(local, axis=0, mode="clip")
        return self._weights(local, z, n)

    def step(self, local: Local, gradient: Floats, scale: float, since: Floats | None) -> None:
        z, n, change, buffer = self.scratch(len(local))
        self.z.take(local, axis=0, out=z, mode="clip")
        self.n.take(local, axis=0, out=n, mode="clip")
        weights = self._weights(local, z.copy(), n.copy())
        scaled = gradient if scale == 1.0 else gradient * np.float32(scale)
        late = self.sums.add(local, scaled, since)
        root = np.sqrt(n)
        grow(n, gradient, late, (change, buffer))
        self.n[local] = n
        np.sqrt(n, out=n)
        np.subtract(n, root, out=n)
        if late is not None:
            np.add(root, self.spec.beta, out=root)
            np.multiply(late, self.spec.rate, out=late)
            np.divide(late, root, out=late, where=root > 0.0)  # where it is 0 nothing was learnt, so nothing is late
            np.add(weights, late, out=weights)
        np.multiply(weights, n, out=weights)
        np.divide(weights, self.spec.rate, out=weights)
        np.subtract(z, weights, out=z)
        np.add(z, scaled, out=z)
        self.z[local] = z

    def _weights(self, local: Local, z: Floats, n: Floats) -> Floats:
        """The weights that follow from ``z`` and ``n``, both of which are used up."""
        l1, l2 = self.clock * self.table.l1, self.clock * self.table.l2
        np.sqrt(n, out=n)
        np.add(n, self.spec.beta, out=n)
        np.divide(n, self.spec.rate, out=n)
        at = None
        if self.free is not None and (l1 or l2):
            at = int(local.searchsorted(self.free))
            at = at if at < len(local) and local[at] == self.free else None
        kept = None if at is None else _ratio(z[at : at + 1], n[at : at + 1])
        if l1:
            np.copysign(np.maximum(np.abs(z) - np.float32(l1), 0.0), z, out=z)
        if l2:
            np.add(n, l2, out=n)
        weights = _ratio(z, n)
        if at is not None and kept is not None:
            weights[at : at + 1] = kept
        return weights


def _ratio(z: Floats, n: Floats) -> Floats:
    """``-z / n`` as a new array, 0 where nothing has been learnt (``n`` is 0 where beta is)."""
    ratio = np.zeros_like(z)
    np.divide(z, n, out=ratio, where=n > 0.0)
    return np.negative(ratio, out=ratio)
