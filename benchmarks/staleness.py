"""Do more workers help? What it costs to learn from gradients that are late.

    python -m benchmarks.staleness
    python -m benchmarks.staleness rules [rows]

The first counts the rows that a learner needs until its test loss is near the best possible one: a single process, and
workers, each with some steps under way, on one real shard, all within this process, so that the figures are the same
each time. Whose turn it is falls by chance, or they take turns in a ring, which is harder: then every gradient is late
by as many steps as are under way, and corrections come too late in step. Criteo-shaped rows whose best possible loss is
known, 2**18 features, minibatch 100, AdaGrad as it is by default.

The second is about the rules: test loss after one pass with 1 to 500 steps in flight, by what is done about late steps.
No network there: a queue makes every gradient late by exactly so many steps. ``apply`` takes late steps as they are;
``rate / staleness`` scales the rate by min(1, 16 / staleness), the usual remedy; ``damp`` is what cirrus does.
"""

from __future__ import annotations

import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.kernels import BITS
from benchmarks.rows import encoded
from benchmarks.setting import setting, write
from cirrus.actors.shard import Connection, Shard
from cirrus.learn.base import Batch, TableSpec
from cirrus.learn.logistic import Logistic
from cirrus.learn.metrics import log_loss
from cirrus.learn.rows import Floats, Rows
from cirrus.learn.schedule import under_way
from cirrus.learn.tables import Table
from cirrus.models import LogisticRegression
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer
from cirrus.testing.data import Truth, criteo_like
from cirrus.wire import frames
from cirrus.wire.frames import Answer, Step

ROWS = 100_000
FOLD = 5
NEAR = 0.01
"""Above the best possible test loss: where a learner has arrived."""

PASSES = 10
"""After these it is not waited for any longer."""

LOOK = 20
"""Steps between two looks at the test loss."""

CREWS = (*((workers, depth) for workers in (1, 4, 16) for depth in (1, 2, 3, 4)), (64, 2), (250, 2))
"""Workers, and the steps that each has under way: up to 64 together, then 128 and 500."""

Order = Literal["chance", "ring"]
ORDERS: tuple[Order, ...] = ("chance", "ring")

MINIBATCH = 100
IN_FLIGHT = (1, 16, 128, 500)
OPTIMIZERS: tuple[Optimizer, ...] = (
    SGD(0.1), SGD(0.5), Momentum(0.01), Nesterov(0.01), Adagrad(0.1), Adagrad(0.3), Adam(0.001), FTRL(0.1, 0.1),
)  # fmt: skip


def drawn(rows: int, seed: int) -> tuple[Rows, Truth]:
    """Encoded rows and what is known of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.tsv"
        truth = criteo_like(path, rows, seed)
        return encoded(path), truth


@dataclass(frozen=True)
class Lesson:
    """What is learnt from: rows, every fifth of them a test row, and the loss on these of the model that drew them."""

    train: Rows
    test: Batch
    best: float

    @classmethod
    def made(cls) -> Lesson:
        rows, truth = drawn(ROWS, 0)
        numbers = np.arange(len(rows))
        tested = numbers % FOLD == FOLD - 1
        kernel = Logistic(LogisticRegression(), 1 << BITS, SGD())
        best = truth.loss_of_truth(lambda which: which % FOLD == FOLD - 1)
        return cls(rows.take(numbers[~tested]), kernel.batch(rows.take(numbers[tested]), 0), best)

    def batches(self, kernel: Logistic) -> Iterator[Batch]:
        """Minibatches of one pass after another, each in an order of its own."""
        for number in range(PASSES):
            order = np.random.default_rng(number).permutation(len(self.train))
            yield from kernel.batches(self.train.take(order), MINIBATCH)

    def loss(self, kernel: Logistic, table: Table) -> float:
        scores = kernel.scores(self.test, (table.read(table.local(self.test.keys[0])),))
        return log_loss(self.test.rows.labels, scores)


class Worker:
    """A worker of a shard in this process: frames go to and fro, and nothing else does."""

    def __init__(self, shard: Shard, kernel: Logistic, number: int) -> None:
        self._shard = shard
        self._kernel = kernel
        self._connection = Connection()
        self._waiting: deque[tuple[Batch, Floats]] = deque()
        self._step = 0
        shard.handle(self._connection, frames.encode_open(number, 0))

    @property
    def under_way(self) -> int:
        return len(self._waiting)

    def pull(self, batch: Batch) -> None:
        self._ask(Step(0, (0,), None, batch.keys), batch)

    def turn(self, batch: Batch) -> None:
        """Push the gradient of what was pulled first, and pull for another minibatch."""
        pulled, rows = self._waiting.popleft()
        gradient = self._kernel.gradient(pulled, (rows,))
        self._ask(Step(self._step, (0,), gradient.tables, batch.keys), batch)
        self._step += 1

    def _ask(self, step: Step, batch: Batch) -> None:
        (answer,) = frames.replies(self._shard.handle(self._connection, frames.encode_step(step)))
        assert isinstance(answer, Answer)
        assert answer.rows is not None
        self._waiting.append((batch, answer.rows[0]))


def course(lesson: Lesson, workers: int, depth: int, order: Order) -> list[float]:
    """The test loss after each ``LOOK`` steps."""
    kernel, shard = Logistic(LogisticRegression(), 1 << BITS, Adagrad()), Shard(0, 1)
    shard.create(kernel.tables()[0])
    table, chance, losses = shard.tables[0], np.random.default_rng(workers), []
    crew = [Worker(shard, kernel, number) for number in range(workers)]
    batches = lesson.batches(kernel)
    for worker in crew:
        worker.pull(next(batches))
    for step, batch in enumerate(batches, 1):
        worker = crew[int(chance.integers(workers)) if order == "chance" else step % workers]
        worker.turn(batch)
        if worker.under_way < under_way(table.clock, workers, depth):
            worker.pull(next(batches))
        if step % LOOK == 0:
            losses.append(lesson.loss(kernel, table))
            if losses[-1] <= lesson.best + NEAR:
                break
    return losses


def alone(lesson: Lesson) -> list[float]:
    """The same of a single process that has the weights, with nothing between it and them."""
    kernel = Logistic(LogisticRegression(), 1 << BITS, Adagrad())
    table, losses = Table(replace(kernel.tables()[0], stale="apply"), 0, 1), []
    for step, batch in enumerate(lesson.batches(kernel), 1):
        local = table.local(batch.keys[0])
        table.push(local, kernel.gradient(batch, (table.pull(local),)).tables[0])
        if step % LOOK == 0:
            losses.append(lesson.loss(kernel, table))
            if losses[-1] <= lesson.best + NEAR:
                break
    return losses


def samples() -> None:
    """Count, print and write."""
    before, lesson = setting(), Lesson.made()
    single = alone(lesson)
    print(f"best possible {lesson.best:.4f}; a single process: {len(single) * LOOK} steps", flush=True)
    found = []
    for workers, depth in CREWS:
        for order in ORDERS:
            losses = course(lesson, workers, depth, order)
            found.append({
                "workers": workers, "depth": depth, "order": order, "loss": round(min(losses), 4),
                "rows": len(losses) * LOOK * MINIBATCH, "near": losses[-1] <= lesson.best + NEAR,
                "ratio": round(len(losses) / len(single), 2),
            })  # fmt: skip
            print(found[-1], flush=True)
    rows = len(single) * LOOK * MINIBATCH
    write("staleness", before, {"best": round(lesson.best, 4), "near": NEAR, "single": rows, "crews": found})


def learn(batches: Sequence[Batch], optimizer: Optimizer, in_flight: int, late: str) -> Table:
    """One pass in which every gradient is pushed after ``in_flight - 1`` others that it does not know of."""
    kernel = Logistic(LogisticRegression(), 1 << BITS, optimizer)
    spec: TableSpec = replace(kernel.tables()[0], stale="damp" if late == "damp" else "apply")
    table = Table(spec, 0, 1)
    under_way: deque[tuple[Batch, Floats, int]] = deque()

    def push() -> None:
        batch, pulled, clock = under_way.popleft()
        gradient = kernel.gradient(batch, (pulled,)).tables[0]
        if late == "rate / staleness":
            gradient *= np.float32(min(1.0, 16.0 / max(table.clock - clock, 1)))
        table.push(batch.keys[0].astype(np.intp), gradient, pulled)

    for batch in batches:
        under_way.append((batch, table.pull(batch.keys[0].astype(np.intp)), table.clock))
        if len(under_way) == in_flight:
            push()
    while under_way:
        push()
    return table


def rules(count: int) -> None:
    """Compare what may be done about late steps."""
    rows, truth = drawn(count, 1)
    cut = len(rows) * 9 // 10
    kernel = Logistic(LogisticRegression(), 1 << BITS, SGD())
    batches = list(kernel.batches(rows.slice(0, cut), MINIBATCH))
    test = kernel.batch(rows.slice(cut, len(rows)), 0)
    best, late_by = truth.best_loss(), ", ".join(map(str, IN_FLIGHT))
    print(f"{len(batches)} steps; best possible loss {best:.4f}; in flight: {late_by}")
    for optimizer in OPTIMIZERS:
        for late in ("apply", "rate / staleness", "damp"):
            if late == "rate / staleness" and isinstance(optimizer, Adagrad | Adam | FTRL):
                continue  # these undo what scales a gradient; scaling their rate is no better than it is for SGD
            losses = []
            for in_flight in IN_FLIGHT:
                table = learn(batches, optimizer, in_flight, late)
                scores = kernel.scores(test, (table.read(test.keys[0].astype(np.intp)),))
                losses.append(f"{log_loss(test.rows.labels, scores):8.4f}")
            print(f"{optimizer!s:60s} {late:16s} {' '.join(losses)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["rules"]:
        rules(int(sys.argv[2]) if len(sys.argv) > 2 else 300_000)
    else:
        samples()
