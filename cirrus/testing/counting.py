"""The counting oracle: a model that shows whether every minibatch counted exactly once, whatever died meanwhile.

The "gradient" of minibatch ``b`` is -1 at row ``b``, and the rate is 1: after ``e`` epochs every weight must be
exactly ``e``. A lost step leaves a smaller number behind, one that counted twice a larger one.
"""

from __future__ import annotations

import time
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
    """Counts minibatches; ``room`` is the largest number of them that an epoch may have.

    Each takes a worker ``pause`` seconds, so that a run goes on for long enough to be disturbed, on any machine.
    """

    kernel: ClassVar[str] = "cirrus.testing.counting:CountingKernel"

    room: int = 100_000
    pause: float = 0.0

    def __post_init__(self) -> None:
        checks.integer("model.room", self.room, 1, 2**31)
        checks.within("model.pause", self.pause, 0.0, 60.0)


class CountingKernel(Kernel):
    """One table, ``counts``: row ``b`` for minibatch ``b``. The optimiser is SGD at rate 1, whatever was asked for."""

    def __init__(self, spec: Counting, features: int, optimizer: Optimizer) -> None:  # noqa: ARG002  the kernel's port
        self._pause = spec.pause
        self._tables = (TableSpec("counts", spec.room, 1, SGD(rate=1.0)),)

    def tables(self) -> tuple[TableSpec, ...]:
        return self._tables

    def batch(self, rows: Rows, number: int) -> Batch:
        return Batch((np.array([number], np.uint32),), rows, number)

    def gradient(self, batch: Batch, tables: tuple[Floats, ...]) -> Gradient:  # noqa: ARG002  the kernel's port
        if self._pause:
            time.sleep(self._pause)  # noqa: TID251  a worker computes: nobody else is to run
        return Gradient((np.full((1, 1), -1.0, np.float32),), 0.0)

    def scores(self, batch: Batch, tables: tuple[Floats, ...]) -> Floats:  # noqa: ARG002  the kernel's port
        return np.zeros(len(batch.rows), np.float32)
