"""The arithmetic of the optimisers on one shard's rows, and which class does which one's work.

Every step is damped by ``cirrus.learn.staleness`` where the weights that it was computed on are known.
"""

from __future__ import annotations

import math
from typing import assert_never

import numpy as np

from cirrus import optimizers
from cirrus.learn.base import TableSpec
from cirrus.learn.ftrl import FtrlRule
from cirrus.learn.memory import zeros
from cirrus.learn.rows import Floats
from cirrus.learn.rules import Array, Local, Rule, Shape, Weighted
from cirrus.learn.staleness import damping


class SgdRule(Weighted):
    """``w -= rate * g``."""

    def __init__(self, spec: optimizers.SGD, shape: Shape) -> None:
        super().__init__(shape, buffers=3)
        self.rate = spec.rate

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights}

    def rates(self, local: Local) -> float:  # noqa: ARG002  the same for all rows
        return self.rate

    def step(self, local: Local, gradient: Floats, pulled: Floats | None) -> None:
        weights, change, moved = self.scratch(len(local))
        self.weights.take(local, axis=0, out=weights, mode="clip")
        np.multiply(gradient, self.rate, out=change)
        if pulled is not None:
            np.subtract(pulled, weights, out=moved)
            np.multiply(change, damping(gradient, change, moved), out=change)
        np.subtract(weights, change, out=weights)
        self.weights[local] = weights


class MomentumRule(Weighted):
    """``v = momentum * v + g``, then ``w -= rate * v``, or ``w -= rate * (g + momentum * v)`` as Nesterov has it.

    A gradient goes on to act through the velocity, ``rate / (1 - momentum)`` times itself in the end: that is the step
    which is damped, and the gradient enters the velocity as much smaller.
    """

    def __init__(self, spec: optimizers.Momentum | optimizers.Nesterov, shape: Shape) -> None:
        super().__init__(shape, buffers=4)
        self.spec = spec
        self.ahead = isinstance(spec, optimizers.Nesterov)
        self.velocity: Floats = zeros(shape, np.float32)

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights, "velocity": self.velocity}

    def rates(self, local: Local) -> float:  # noqa: ARG002  the same for all rows
        return self.spec.rate

    def step(self, local: Local, gradient: Floats, pulled: Floats | None) -> None:
        weights, news, velocity, moved = self.scratch(len(local))
        momentum, rate = self.spec.momentum, self.spec.rate
        self.weights.take(local, axis=0, out=weights, mode="clip")
        scale = 1.0
        if pulled is not None:
            np.subtract(pulled, weights, out=moved)
            np.multiply(gradient, rate / (1.0 - momentum), out=news)
            scale = damping(gradient, news, moved)
        np.multiply(gradient, scale, out=news)
        self.velocity.take(local, axis=0, out=velocity, mode="clip")
        np.multiply(velocity, momentum, out=velocity)
        np.add(velocity, news, out=velocity)
        self.velocity[local] = velocity
        if self.ahead:
            np.multiply(velocity, momentum, out=velocity)
            np.add(velocity, news, out=velocity)
        np.multiply(velocity, rate, out=velocity)
        np.subtract(weights, velocity, out=weights)
        self.weights[local] = weights


class AdagradRule(Weighted):
    """``a += g*g; w -= rate * g / sqrt(a)``; a damped step adds to ``a`` in full, which is what makes the rate sink."""

    def __init__(self, spec: optimizers.Adagrad, shape: Shape) -> None:
        super().__init__(shape, buffers=3)
        self.rate = spec.rate
        self.squares: Floats = zeros(shape, np.float32)
        self.squares += np.float32(spec.initial)

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights, "squares": self.squares}

    def rates(self, local: Local) -> Floats:
        rates = self.squares.take(local, axis=0, mode="clip")
        np.sqrt(rates, out=rates)
        return np.divide(self.rate, rates, out=rates)

    def step(self, local: Local, gradient: Floats, pulled: Floats | None) -> None:
        weights, change, squares = self.scratch(len(local))
        self.squares.take(local, axis=0, out=squares, mode="clip")
        np.multiply(gradient, gradient, out=change)
        np.add(squares, change, out=squares)
        self.squares[local] = squares
        np.sqrt(squares, out=squares)
        np.divide(gradient, squares, out=change)
        np.multiply(change, self.rate, out=change)
        self.weights.take(local, axis=0, out=weights, mode="clip")
        if pulled is not None:
            moved = np.subtract(pulled, weights, out=squares)
            np.multiply(change, damping(gradient, change, moved), out=change)
        np.subtract(weights, change, out=weights)
        self.weights[local] = weights


class AdamRule(Weighted):
    """Adam whose moments decay, and whose bias is corrected, by each row's own count of updates.

    Its step hardly depends on a gradient's size, so it is the step that is damped and not the gradient.
    """

    def __init__(self, spec: optimizers.Adam, shape: Shape) -> None:
        super().__init__(shape, buffers=4)
        self.spec = spec
        self.first: Floats = zeros(shape, np.float32)
        self.second: Floats = zeros(shape, np.float32)
        self.count = zeros(shape[:1], np.int32)

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights, "first": self.first, "second": self.second, "count": self.count}

    def rates(self, local: Local) -> float:  # noqa: ARG002  the same for all rows
        return self.spec.rate

    def step(self, local: Local, gradient: Floats, pulled: Floats | None) -> None:
        spec = self.spec
        weights, change, root, moved = self.scratch(len(local))
        times = self._counted(local)
        np.multiply(gradient, gradient, out=change)
        _blend(self.second, local, change, spec.beta2, root)
        np.divide(root, _bias(spec.beta2, times), out=root)
        np.sqrt(root, out=root)
        np.add(root, spec.epsilon, out=root)

        self.weights.take(local, axis=0, out=weights, mode="clip")
        rate = spec.rate
        if pulled is not None:
            np.subtract(pulled, weights, out=moved)
            np.divide(gradient, root, out=change)
            np.multiply(change, spec.rate, out=change)
            rate *= damping(gradient, change, moved)
        np.copyto(change, gradient)
        _blend(self.first, local, change, spec.beta1, moved)
        np.divide(moved, root, out=change)
        np.divide(change, _bias(spec.beta1, times), out=change)
        np.multiply(change, rate, out=change)
        np.subtract(weights, change, out=weights)
        self.weights[local] = weights

    def _counted(self, local: Local) -> Floats:
        """Count an update of those rows; how many each has had, of a shape that fits the weights'."""
        count = self.count.take(local, mode="clip")
        count += 1
        self.count[local] = count
        return count.astype(np.float32).reshape((-1,) + (1,) * (len(self.shape) - 1))


def _blend(moments: Floats, local: Local, news: Floats, beta: float, out: Floats) -> None:
    """``moments = beta * moments + (1 - beta) * news`` for those rows, in ``out`` too; ``news`` is used up."""
    moments.take(local, axis=0, out=out, mode="clip")
    np.multiply(out, beta, out=out)
    np.multiply(news, 1.0 - beta, out=news)
    np.add(out, news, out=out)
    moments[local] = out


def _bias(beta: float, times: Floats) -> Floats:
    """``1 - beta ** times``, to float32 precision also where beta is next to 1."""
    if beta == 0.0:
        return np.ones_like(times)
    bias: Floats = np.expm1(times * math.log(beta))
    return np.negative(bias, out=bias)


def rule(spec: TableSpec, shape: Shape, free: int | None) -> Rule:
    """The arithmetic of a table's optimiser on a part of ``shape``; ``free`` is its local row without penalties."""
    match spec.optimizer:
        case optimizers.SGD():
            return SgdRule(spec.optimizer, shape)
        case optimizers.Momentum() | optimizers.Nesterov():
            return MomentumRule(spec.optimizer, shape)
        case optimizers.Adagrad():
            return AdagradRule(spec.optimizer, shape)
        case optimizers.Adam():
            return AdamRule(spec.optimizer, shape)
        case optimizers.FTRL():
            return FtrlRule(spec, spec.optimizer, shape, free)
    assert_never(spec.optimizer)
