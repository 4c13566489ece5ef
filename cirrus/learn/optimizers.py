"""The arithmetic of SGD, momentum and Adam on one shard's rows, and which class does which optimiser's work."""

from __future__ import annotations

import math
from typing import assert_never

import numpy as np

from cirrus import optimizers
from cirrus.learn.adaptive import AdagradRule, FtrlRule
from cirrus.learn.base import TableSpec
from cirrus.learn.rows import Floats
from cirrus.learn.rules import Array, Local, Rule, Shape, Weighted


class SgdRule(Weighted):
    """``w -= rate * g``."""

    def __init__(self, spec: optimizers.SGD, shape: Shape) -> None:
        super().__init__(shape, buffers=2)
        self.rate = spec.rate

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights}

    def rates(self, local: Local) -> float:  # noqa: ARG002  the same for all rows
        return self.rate

    def step(self, local: Local, gradient: Floats, scale: float, since: Floats | None) -> None:  # noqa: ARG002
        change, buffer = self.scratch(len(local))
        np.multiply(gradient, self.rate * scale, out=change)
        self.subtract(local, change, buffer)


class MomentumRule(Weighted):
    """``v = momentum * v + g``, then ``w -= rate * v``, or ``w -= rate * (g + momentum * v)`` as Nesterov has it.

    ``scale`` shrinks the gradient itself, so that it also bears less on the steps to come.
    """

    def __init__(self, spec: optimizers.Momentum | optimizers.Nesterov, shape: Shape) -> None:
        super().__init__(shape, buffers=3)
        self.spec = spec
        self.ahead = isinstance(spec, optimizers.Nesterov)
        self.velocity: Floats = np.zeros(shape, np.float32)

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights, "velocity": self.velocity}

    def rates(self, local: Local) -> float:  # noqa: ARG002  the same for all rows
        return self.spec.rate

    def step(self, local: Local, gradient: Floats, scale: float, since: Floats | None) -> None:  # noqa: ARG002
        change, velocity, buffer = self.scratch(len(local))
        np.multiply(gradient, scale, out=change)
        self.velocity.take(local, axis=0, out=velocity, mode="clip")
        np.multiply(velocity, self.spec.momentum, out=velocity)
        np.add(velocity, change, out=velocity)
        self.velocity[local] = velocity
        if self.ahead:
            np.multiply(velocity, self.spec.momentum, out=velocity)
            np.add(velocity, change, out=velocity)
        np.multiply(velocity, self.spec.rate, out=velocity)
        self.subtract(local, velocity, buffer)


class AdamRule(Weighted):
    """Adam whose moments decay, and whose bias is corrected, by each row's own count of updates.

    Its step hardly depends on a gradient's size: ``scale`` acts on the step.
    """

    def __init__(self, spec: optimizers.Adam, shape: Shape) -> None:
        super().__init__(shape, buffers=3)
        self.spec = spec
        self.first: Floats = np.zeros(shape, np.float32)
        self.second: Floats = np.zeros(shape, np.float32)
        self.count = np.zeros(shape[0], np.int32)

    def arrays(self) -> dict[str, Array]:
        return {"weights": self.weights, "first": self.first, "second": self.second, "count": self.count}

    def rates(self, local: Local) -> float:  # noqa: ARG002  the same for all rows
        return self.spec.rate

    def step(self, local: Local, gradient: Floats, scale: float, since: Floats | None) -> None:  # noqa: ARG002
        spec = self.spec
        change, moment, buffer = self.scratch(len(local))
        count = self.count.take(local, mode="clip")
        count += 1
        self.count[local] = count
        times = count.astype(np.float32).reshape((-1,) + (1,) * (len(self.shape) - 1))

        np.multiply(gradient, gradient, out=change)
        _blend(self.second, local, change, spec.beta2, moment)
        np.divide(moment, _bias(spec.beta2, times), out=moment)
        np.sqrt(moment, out=moment)
        np.add(moment, spec.epsilon, out=moment)

        np.copyto(change, gradient)
        _blend(self.first, local, change, spec.beta1, buffer)
        np.divide(buffer, moment, out=change)
        np.divide(change, _bias(spec.beta1, times), out=change)
        np.multiply(change, spec.rate * scale, out=change)
        self.subtract(local, change, buffer)


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
