"""What is learnt: frozen values that name a model and its penalties; the mathematics is in ``cirrus.learn``.

``kernel`` names the class that computes for the model as ``module:name``. A model of your own is a frozen dataclass
derived from ``ModelSpec`` with such a name, importable on the workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cirrus import checks


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The base of every model's settings."""

    kernel: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class LogisticRegression(ModelSpec):
    """Sparse logistic regression with an intercept that is not penalised.

    Minimises ``mean log loss + l2/2 * |w|^2 + l1 * |w|_1`` over the training rows.
    """

    kernel: ClassVar[str] = "cirrus.learn.logistic:Logistic"

    l2: float = 0.0
    l1: float = 0.0

    def __post_init__(self) -> None:
        checks.within("model.l2", self.l2, 0.0, 1e6)
        checks.within("model.l1", self.l1, 0.0, 1e6)
