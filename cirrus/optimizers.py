"""How a shard turns gradients into weights: frozen values; the arithmetic is in ``cirrus.learn.optimizers``.

Every rule keeps its state per weight and touches only the rows of a push. ``rate`` is the learning rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from cirrus import checks


@dataclass(frozen=True, slots=True)
class SGD:
    """Plain stochastic gradient descent: ``w -= rate * g``."""

    rate: float = 0.1

    def __post_init__(self) -> None:
        checks.positive("optimizer.rate", self.rate)


@dataclass(frozen=True, slots=True)
class Momentum:
    """Polyak's heavy ball with one velocity a weight: ``v = momentum * v + g; w -= rate * v``."""

    rate: float = 0.01
    momentum: float = 0.9

    def __post_init__(self) -> None:
        checks.positive("optimizer.rate", self.rate)
        checks.within("optimizer.momentum", self.momentum, 0.0, 0.999999)


@dataclass(frozen=True, slots=True)
class Nesterov:
    """Nesterov's momentum: ``v = momentum * v + g; w -= rate * (g + momentum * v)``."""

    rate: float = 0.01
    momentum: float = 0.9

    def __post_init__(self) -> None:
        checks.positive("optimizer.rate", self.rate)
        checks.within("optimizer.momentum", self.momentum, 0.0, 0.999999)


@dataclass(frozen=True, slots=True)
class Adagrad:
    """AdaGrad (Duchi, Hazan and Singer, 2011): ``a += g*g; w -= rate * g / sqrt(a)``, ``a`` starting at ``initial``."""

    rate: float = 0.1
    initial: float = 0.01

    def __post_init__(self) -> None:
        checks.positive("optimizer.rate", self.rate)
        checks.positive("optimizer.initial", self.initial)


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam (Kingma and Ba, 2015) with bias correction by each row's own count of updates."""

    rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        checks.positive("optimizer.rate", self.rate)
        checks.within("optimizer.beta1", self.beta1, 0.0, 0.999999)
        checks.within("optimizer.beta2", self.beta2, 0.0, 0.9999999)
        checks.positive("optimizer.epsilon", self.epsilon)


@dataclass(frozen=True, slots=True)
class FTRL:
    """FTRL-proximal (McMahan et al., 2013) with per-weight rates ``rate / (beta + sqrt(n))``.

    The paper has ``beta`` 1 for gradients of single rows; the mean of a minibatch is smaller, and so is the default.
    """

    rate: float = 0.1
    beta: float = 0.1

    def __post_init__(self) -> None:
        checks.positive("optimizer.rate", self.rate)
        checks.within("optimizer.beta", self.beta, 0.0, 1e6)


Optimizer = SGD | Momentum | Nesterov | Adagrad | Adam | FTRL
EXACT_L1 = (SGD, Adagrad, FTRL)
