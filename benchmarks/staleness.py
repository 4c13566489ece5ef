"""Do more workers help? Test loss after one pass with 1 to 500 steps in flight, by what is done about late steps.

    python benchmarks/staleness.py [rows]

Criteo-shaped rows whose best possible loss is known, 2**18 features, minibatch 100, one shard, no network: a queue
makes every gradient late by exactly so many steps. ``apply`` takes late steps as they are; ``rate / staleness`` scales
the rate by min(1, 16 / staleness), the usual remedy; ``damp`` is what cirrus does.
"""

from __future__ import annotations

import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cirrus.learn.base import Batch, TableSpec
from cirrus.learn.encoding import Encoder
from cirrus.learn.logistic import Logistic
from cirrus.learn.metrics import log_loss
from cirrus.learn.parsing import parser
from cirrus.learn.rows import Floats, Rows
from cirrus.learn.tables import Table
from cirrus.models import LogisticRegression
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer
from cirrus.sources import CriteoSource
from cirrus.steps import Bucket, Hash
from cirrus.testing.data import criteo_like

BITS = 18
MINIBATCH = 100
IN_FLIGHT = (1, 16, 128, 500)
OPTIMIZERS: tuple[Optimizer, ...] = (
    SGD(0.1), SGD(0.5), Momentum(0.01), Nesterov(0.01), Adagrad(0.1), Adagrad(0.3), Adam(0.001), FTRL(0.1, 0.1),
)  # fmt: skip


def made(rows: int) -> tuple[Rows, float]:
    """Encoded rows and the loss of the model that drew them."""
    source = CriteoSource(path="rows")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.tsv"
        truth = criteo_like(path, rows, seed=1)
        content = parser(source).parse(path.read_bytes(), 1, "rows").content
    return Encoder(source, (Bucket(), Hash(bits=BITS)), {}, 1 << BITS).encode(content), truth.best_loss()


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


def main() -> None:
    rows, best = made(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
    cut = len(rows) * 9 // 10
    kernel = Logistic(LogisticRegression(), 1 << BITS, SGD())
    batches = list(kernel.batches(rows.slice(0, cut), MINIBATCH))
    test = kernel.batch(rows.slice(cut, len(rows)), 0)
    print(f"{len(batches)} steps; best possible loss {best:.4f}; in flight: {', '.join(map(str, IN_FLIGHT))}")
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
    main()
