"""From a rule's arrays and settings to the compiled twin that works on them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.base import TableSpec
from cirrus.learn.rules import Rule
from cirrus.native.choice import Part, kernels
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer

KINDS: Final = (SGD, Momentum, Nesterov, Adagrad, Adam, FTRL)
"""The rules in the order in which the compiled loops number them."""


def part_of(rule: Rule, spec: TableSpec, free: int | None, touched: NDArray[np.int32] | None) -> Part | None:
    """What does the rule's work on its own arrays, penalties included; ``None`` where numpy does it."""
    compiled = kernels()
    if compiled is None:
        return None
    settings = (*_settings(spec.optimizer), spec.l2, spec.l1, -1 if free is None else free)
    kind = KINDS.index(type(spec.optimizer))
    return compiled.part(kind, spec.width, settings, tuple(rule.arrays().values()), touched)


def _settings(optimizer: Optimizer) -> tuple[float, float, float, float]:
    """Rate, momentum or first beta, second beta, epsilon."""
    match optimizer:
        case Momentum() | Nesterov():
            return optimizer.rate, optimizer.momentum, 0.0, 0.0
        case Adam():
            return optimizer.rate, optimizer.beta1, optimizer.beta2, optimizer.epsilon
        case FTRL():
            return optimizer.rate, optimizer.beta, 0.0, 0.0
        case SGD() | Adagrad():
            return optimizer.rate, 0.0, 0.0, 0.0
