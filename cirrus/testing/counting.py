"""The counting oracle: a model that shows whether every minibatch counted exactly once, whatever died meanwhile.

The "gradient" of minibatch ``b`` is -1 at row ``b``, and the rate is 1: after ``e`` epochs every weight must be
exactly ``e``. A lost step leaves a smaller number behind, one that counted twice a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cirrus import checks
from cirrus.learn.base import Batch, Gradient, Kernel, TableSpec
from cirrus.learn.rows import Floats, Rows
from cirrus.models import ModelSpec
from cirrus.optimizers import SGD, Optimizer


@dataclass(frozen=True, slots=True)
class Counting(ModelSpec):
    """Counts minibatches; ``room`` is the largest number of them that an epoch may have."""

    kernel: ClassVar[str] = "cirrus.testing.counting:CountingKernel"

    room: int = 100_000

    def __post_init__(self) -> None:
        checks.integer("model.room", self.room, 1, 2**31)


class CountingKernel(Kernel):
    """One table, ``counts``: row ``b`` for minibatch ``b``. The optimiser is SGD at rate 1, whatever was asked for."""

    def __init__(self, spec: Counting, features: int, optimizer: Optimizer) -> None:  # noqa: ARG002  the kernel's port
        self._tables = (TableSpec("counts", spec.room, 1, SGD(rate=1.0)),)

    def tables(self) -> tuple[TableSpec, ...]:
        return self._tables

    def batch(self, rows: Rows, number: int) -> Batch:
        return Batch((np.array([number], np.uint32),), rows, number)

    def gradient(self, batch: Batch, tables: tuple[Floats, ...]) -> Gradient:  # noqa: ARG002  the kernel's port
        return Gradient((np.full((1, 1), -1.0, np.float32),), 0.0)

    def scores(self, batch: Batch, tables: tuple[Floats, ...]) -> Floats:  # noqa: ARG002  the kernel's port
        return np.zeros(len(batch.rows), np.float32)
