"""Do the optimisers' defaults learn? Test loss of each with 1, 4 and 8 local workers, as a Markdown table.

    python -m benchmarks.optimizers [rows] [criteo.tsv.gz]

Generated rows, for which the best possible loss is known, in two passes, and, where a file is given, rows of the
Criteo display-advertising challenge in five; every fifth row is a test row, 2**18 features, minibatch 100. Each data
set is prepared once and learnt from by one training stage after the other.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cirrus.cloud.places import local
from cirrus.models import LogisticRegression
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.results import Result
from cirrus.runs import run_sync
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash, every
from cirrus.testing.data import criteo_like
from cirrus.until import epochs

DEFAULTS: tuple[Optimizer, ...] = (SGD(), Momentum(), Nesterov(), Adagrad(), Adam(), FTRL())
WORKERS = (1, 4, 8)
FOLD = 5


@dataclass(frozen=True)
class Task:
    """A data set, and how long and with which penalty it is learnt from."""

    title: str
    path: str
    passes: int
    l2: float

    def stage(self, optimizer: Optimizer, workers: int) -> Train:
        return Train(
            model=LogisticRegression(l2=self.l2),
            optimizer=optimizer,
            until=epochs(self.passes),
            workers=workers,
            name=name(optimizer, workers),
        )


def name(optimizer: Optimizer, workers: int) -> str:
    return f"{type(optimizer).__name__.lower()}-{workers}"


def measured(task: Task, optimizers: Sequence[Optimizer], store: Path) -> Result:
    prepare = Prepare(steps=(Bucket(), Hash(bits=18)), test=every(FOLD, at=FOLD - 1))
    stages = [task.stage(optimizer, workers) for optimizer in optimizers for workers in WORKERS]
    return run_sync(Pipeline(name="optimizers", data=criteo(task.path), stages=(prepare, *stages)), on=local(store))


def table(task: Task, result: Result) -> str:
    lines = [
        f"**{task.title}, {task.passes} passes, l2 = {task.l2:g}**",
        "",
        f"| optimizer | {' | '.join(f'{workers} workers' for workers in WORKERS)} |".replace(" 1 workers", " 1 worker"),
        f"|---|{'---|' * len(WORKERS)}",
    ]
    for optimizer in DEFAULTS:
        losses = [result.metrics[name(optimizer, workers)]["log_loss"] for workers in WORKERS]
        lines.append(f"| `{optimizer}` | {' | '.join(f'{loss:.4f}' for loss in losses)} |")
    return "\n".join(lines)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory(prefix="cirrus-optimizers-") as folder:
        path = Path(folder) / "rows.tsv"
        truth = criteo_like(path, rows)
        best = truth.loss_of_truth(lambda numbers: numbers % FOLD == FOLD - 1)
        tasks = [Task(f"{rows:,} generated rows, best possible loss {best:.4f}", str(path), passes=2, l2=1e-6)]
        if len(sys.argv) > 2:
            tasks.append(Task("Criteo", sys.argv[2], passes=5, l2=2e-3))
        for task in tasks:
            print(table(task, measured(task, DEFAULTS, Path(folder) / "store")), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
