"""Models that only tests need; workers import them as they import any model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from cirrus import checks
from cirrus.learn.base import Batch, Gradient, TableSpec
from cirrus.learn.logistic import Logistic
from cirrus.learn.rows import Floats, Rows
from cirrus.models import LogisticRegression, ModelSpec
from cirrus.optimizers import Optimizer
from cirrus.testing.counting import Counting, CountingKernel

Wrong = Literal["nan", "inf", "loss"]


@dataclass(frozen=True, slots=True)
class Diverging(ModelSpec):
    """Counts minibatches up to number ``at``; from there on gradients are NaN or infinite, or the loss is NaN."""

    kernel: ClassVar[str] = "tests.chaos.models:DivergingKernel"

    room: int = 1000
    at: int = 100
    wrong: Wrong = "nan"

    def __post_init__(self) -> None:
        checks.integer("model.room", self.room, 1, 2**31)


class DivergingKernel(CountingKernel):
    """Computes what ``Diverging`` says."""

    def __init__(self, spec: Diverging, features: int, optimizer: Optimizer) -> None:
        super().__init__(Counting(spec.room), features, optimizer)
        self._spec = spec

    def tables(self) -> tuple[TableSpec, ...]:
        return super().tables()

    def gradient(self, batch: Batch, tables: tuple[Floats, ...]) -> Gradient:
        right = super().gradient(batch, tables)
        if batch.number < self._spec.at:
            return right
        match self._spec.wrong:
            case "nan":
                return Gradient((np.full((1, 1), np.nan, np.float32),), 0.0)
            case "inf":
                return Gradient((np.full((1, 1), -np.inf, np.float32),), 0.0)
            case "loss":
                return Gradient(right.tables, float("nan"))


@dataclass(frozen=True, slots=True)
class CountedLogistic(ModelSpec):
    """Logistic regression that counts its minibatches beside.

    Until the file ``gate`` is there it takes ``pause`` seconds longer for each.
    """

    kernel: ClassVar[str] = "tests.chaos.models:CountedLogisticKernel"

    room: int
    gate: str
    pause: float = 0.25

    def __post_init__(self) -> None:
        checks.integer("model.room", self.room, 1, 2**31)


@dataclass(frozen=True, slots=True)
class Awaiting(ModelSpec):
    """Counts minibatches; each takes ``seconds``, and ten times as long until the file ``notes`` has ``word``."""

    kernel: ClassVar[str] = "tests.chaos.models:AwaitingKernel"

    room: int
    notes: str
    word: str
    seconds: float

    def __post_init__(self) -> None:
        checks.integer("model.room", self.room, 1, 2**31)


class AwaitingKernel(CountingKernel):
    """Computes what ``Awaiting`` says."""

    def __init__(self, spec: Awaiting, features: int, optimizer: Optimizer) -> None:
        super().__init__(Counting(spec.room), features, optimizer)
        self._spec = spec

    def gradient(self, batch: Batch, tables: tuple[Floats, ...]) -> Gradient:
        there = self._spec.word in Path(self._spec.notes).read_text(encoding="utf-8")
        time.sleep(self._spec.seconds * (1 if there else 10))
        return super().gradient(batch, tables)


class CountedLogisticKernel(Logistic):
    """Two tables: the weights of logistic regression, and the counts of the counting oracle."""

    def __init__(self, spec: CountedLogistic, features: int, optimizer: Optimizer) -> None:
        super().__init__(LogisticRegression(), features, optimizer)
        self._counting = CountingKernel(Counting(spec.room), features, optimizer)
        self._gate = Path(spec.gate)
        self._pause = spec.pause

    def tables(self) -> tuple[TableSpec, ...]:
        return (*super().tables(), *self._counting.tables())

    def batch(self, rows: Rows, number: int) -> Batch:
        return _counted(super().batch(rows, number))

    def batches(self, rows: Rows, size: int, first: int = 0, number: int = 0) -> Iterator[Batch]:
        return map(_counted, super().batches(rows, size, first, number))

    def gradient(self, batch: Batch, tables: tuple[Floats, ...]) -> Gradient:
        if not self._gate.exists():
            time.sleep(self._pause)
        learnt = super().gradient(batch, tables[:1])
        return Gradient((*learnt.tables, *self._counting.gradient(batch, tables[1:]).tables), learnt.loss)

    def scores(self, batch: Batch, tables: tuple[Floats, ...]) -> Floats:
        return super().scores(batch, tables[:1])


def _counted(batch: Batch) -> Batch:
    return replace(batch, keys=(*batch.keys, np.array([batch.number], np.uint32)))
