"""A model whose workers need more memory the longer they live, or time; workers import it as they import any model."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cirrus import checks
from cirrus.learn.base import Batch, Gradient
from cirrus.learn.rows import Floats
from cirrus.models import ModelSpec
from cirrus.optimizers import Optimizer
from cirrus.testing.counting import Counting, CountingKernel

TALLY = "CIRRUS_TEST_TALLY"
"""The variable that names a file which gets a byte for each gradient."""


@dataclass(frozen=True, slots=True)
class Costly(ModelSpec):
    """Counts minibatches; each costs its worker ``seconds``, and ``size`` bytes for good."""

    kernel: ClassVar[str] = "tests.chaos.costly:CostlyKernel"

    room: int = 1000
    size: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        checks.integer("model.room", self.room, 1, 2**31)
        checks.integer("model.size", self.size, 0, 2**31)
        checks.within("model.seconds", self.seconds, 0.0, 60.0)


class CostlyKernel(CountingKernel):
    """Computes what ``Costly`` says."""

    def __init__(self, spec: Costly, features: int, optimizer: Optimizer) -> None:
        super().__init__(Counting(spec.room), features, optimizer)
        self._spec = spec
        self._kept: list[bytes] = []

    def gradient(self, batch: Batch, tables: tuple[Floats, ...]) -> Gradient:
        if TALLY in os.environ:
            with Path(os.environ[TALLY]).open("ab") as tally:
                tally.write(b"|")
        self._kept.append(b"x" * self._spec.size)
        time.sleep(self._spec.seconds)
        return super().gradient(batch, tables)
