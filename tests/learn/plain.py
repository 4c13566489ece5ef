"""The optimisers written down as plainly as can be: every row, every step, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.base import TableSpec
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov

Doubles = NDArray[np.float64]


def soft(weights: Doubles, by: Doubles | float) -> Doubles:
    return np.sign(weights) * np.maximum(np.abs(weights) - by, 0.0)


class Plain:
    """A whole table. ``step`` takes the rows of a push and their gradient."""

    def __init__(self, spec: TableSpec) -> None:
        self.spec = spec
        self.w: Doubles = np.zeros((spec.rows, spec.width))
        self.a = np.zeros_like(self.w)
        self.b = np.zeros_like(self.w)
        self.count = np.zeros(spec.rows, int)
        self.steps = 0
        if isinstance(spec.optimizer, Adagrad):
            self.a += spec.optimizer.initial

    def step(self, rows: NDArray[np.intp], gradient: Doubles) -> None:
        rule: dict[type, Callable[[int, Doubles], None]] = {
            SGD: self.sgd, Momentum: self.momentum, Nesterov: self.nesterov, Adagrad: self.adagrad, Adam: self.adam,
            FTRL: self.ftrl,
        }  # fmt: skip
        for row, one in zip(rows, gradient, strict=True):
            rule[type(self.spec.optimizer)](int(row), one)
        self.steps += 1
        if isinstance(self.spec.optimizer, FTRL):
            self.close()
        else:
            self.penalise()

    def sgd(self, row: int, g: Doubles) -> None:
        assert isinstance(self.spec.optimizer, SGD)
        self.w[row] -= self.spec.optimizer.rate * g

    def momentum(self, row: int, g: Doubles) -> None:
        o = self.spec.optimizer
        assert isinstance(o, Momentum)
        self.a[row] = o.momentum * self.a[row] + g
        self.w[row] -= o.rate * self.a[row]

    def nesterov(self, row: int, g: Doubles) -> None:
        o = self.spec.optimizer
        assert isinstance(o, Nesterov)
        self.a[row] = o.momentum * self.a[row] + g
        self.w[row] -= o.rate * (g + o.momentum * self.a[row])

    def adagrad(self, row: int, g: Doubles) -> None:
        o = self.spec.optimizer
        assert isinstance(o, Adagrad)
        self.a[row] += g * g
        self.w[row] -= o.rate * g / np.sqrt(self.a[row])

    def adam(self, row: int, g: Doubles) -> None:
        o = self.spec.optimizer
        assert isinstance(o, Adam)
        self.count[row] += 1
        self.a[row] = o.beta1 * self.a[row] + (1 - o.beta1) * g
        self.b[row] = o.beta2 * self.b[row] + (1 - o.beta2) * g * g
        first = self.a[row] / (1 - o.beta1 ** self.count[row])
        second = self.b[row] / (1 - o.beta2 ** self.count[row])
        self.w[row] -= o.rate * first / (np.sqrt(second) + o.epsilon)

    def ftrl(self, row: int, g: Doubles) -> None:
        o = self.spec.optimizer
        assert isinstance(o, FTRL)
        sigma = (np.sqrt(self.b[row] + g * g) - np.sqrt(self.b[row])) / o.rate
        self.a[row] += g - sigma * self.w[row]
        self.b[row] += g * g

    def penalise(self) -> None:
        spec = self.spec
        kept = None if spec.free is None else self.w[spec.free].copy()
        rate = spec.optimizer.rate
        if isinstance(spec.optimizer, Adagrad):
            eta = rate / np.sqrt(self.a)
            self.w = soft(self.w, eta * spec.l1) / (1 + eta * spec.l2)
        else:
            self.w = soft(self.w * (1 - rate * spec.l2), rate * spec.l1)
        if kept is not None:
            self.w[spec.free] = kept

    def close(self) -> None:
        """FTRL's weights: the minimum of its bound, with ``steps`` times the penalties."""
        o, spec = self.spec.optimizer, self.spec
        assert isinstance(o, FTRL)
        curve = (o.beta + np.sqrt(self.b)) / o.rate
        free = -self.a / curve
        self.w = -soft(self.a, self.steps * spec.l1) / (curve + self.steps * spec.l2)
        if spec.free is not None:
            self.w[spec.free] = free[spec.free]
