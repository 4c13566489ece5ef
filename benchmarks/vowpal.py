"""cirrus with four local workers beside Vowpal Wabbit, one process with its rows cached.

    python -m benchmarks.vowpal

Both learn a logistic regression of 2^18 weights from the same Criteo-shaped rows of 39 values; every fifth row is a
test row. Rates of a pass over cached rows and of cirrus's workers while all of them learn take turns. Then both learn
for the same numbers of passes, each with the learning rate that is its default and with others around it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environments import python_with
from benchmarks.rows import STEPS, encoded
from benchmarks.setting import setting, write
from benchmarks.throughput import cirrus
from cirrus.cloud.places import local
from cirrus.learn.rows import Rows
from cirrus.optimizers import Adagrad
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.runs import run
from cirrus.sources import criteo
from cirrus.steps import every
from cirrus.testing.data import criteo_like
from cirrus.until import epochs

ROWS = 100_000
FOLD = 5
MINIBATCH = 100
WORKERS = 4
ROUNDS = 5
PASSES = (1, 2, 5)
MANY = 25
"""Passes of Vowpal Wabbit in a row, so that what it needs to begin does not count."""

RATES = (0.05, 0.07, 0.1, 0.14)
DEFAULTS = (0.1, 0.5)
"""Learning rates that cirrus's AdaGrad, and Vowpal Wabbit, take if they are told none."""

ROOT = Path(__file__).parents[1]
Found = dict[str, float]
"""Passes, learning rate, test loss, seconds."""


def save(rows: Rows, folder: Path) -> None:
    """As lines of text; the numbers of features are taken as they are."""
    width = len(rows.indices) // len(rows)
    with (folder / "train.vw").open("w") as train, (folder / "test.vw").open("w") as test:
        for number, (label, row) in enumerate(zip(rows.labels, rows.indices.reshape(-1, width).tolist(), strict=True)):
            file = test if number % FOLD == FOLD - 1 else train
            file.write(f"{1 if label else -1} | {' '.join(map(str, row))}\n")


def vowpal(*given: object) -> Any:
    """What the peer says."""
    python = python_with("vowpal", "vowpalwabbit")
    command = [str(python), "-m", "benchmarks.peers.vowpal_peer", *map(str, given)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    return json.loads(done.stdout)


async def losses(data: Path, store: Path) -> list[Found]:
    """The same of cirrus."""
    sizes = {f"rate{number}-passes{passes}": (rate, passes) for number, rate in enumerate(RATES) for passes in PASSES}
    stages = [
        Train(optimizer=Adagrad(rate), minibatch=MINIBATCH, workers=WORKERS, until=epochs(passes), name=name)
        for name, (rate, passes) in sizes.items()
    ]
    prepare = Prepare(steps=STEPS, test=every(FOLD, at=FOLD - 1))
    result = await run(Pipeline(name="vowpal", data=criteo(data), stages=(prepare, *stages)), on=local(store))
    return [
        {"passes": passes, "rate": rate, "loss": result.metrics[name]["log_loss"], "seconds":
         result.metrics[name]["seconds"]} for name, (rate, passes) in sizes.items()
    ]  # fmt: skip


def compared(ours: list[Found], theirs: list[Found]) -> list[dict[str, Any]]:
    """For each number of passes what the default rate, and the best one, came to."""
    return [
        {"passes": passes, **{
            who: {
                "default": next(one for one in found if (one["passes"], one["rate"]) == (passes, rate)),
                "best": min((one for one in found if one["passes"] == passes), key=lambda one: one["loss"]),
            } for who, found, rate in (("cirrus", ours, DEFAULTS[0]), ("vowpal", theirs, DEFAULTS[1]))
        }} for passes in PASSES
    ]  # fmt: skip


async def rates(data: Path, folder: Path) -> dict[str, Any]:
    """Rows a second of both, and the processor time that Vowpal Wabbit needs for a row."""
    ours, theirs = [], []
    vowpal(folder, "rate", 1)  # so that rows are cached
    for number in range(ROUNDS):
        theirs.append(vowpal(folder, "rate", MANY))
        (steps,) = (await cirrus(data, local(folder / f"store{number}"), [(MINIBATCH, WORKERS)])).values()
        ours.append(steps * MINIBATCH)
        print(f"cirrus {ours[-1]:,.0f} rows/s, Vowpal Wabbit {theirs[-1]['rows_per_second']:,.0f}", flush=True)
    return {
        "cirrus": round(median(ours)),
        "vowpal": round(median(one["rows_per_second"] for one in theirs)),
        "vowpal_row_us": round(median(one["row_us"] for one in theirs), 2),
        "ratio": round(median(mine / one["rows_per_second"] for mine, one in zip(ours, theirs, strict=True)), 2),
        "runs": [[round(mine), round(one["rows_per_second"])] for mine, one in zip(ours, theirs, strict=True)],
    }


async def main() -> None:
    before = setting()
    with tempfile.TemporaryDirectory(prefix="cirrus-vowpal-") as name:
        folder = Path(name)
        data = folder / "rows.tsv"
        truth = criteo_like(data, ROWS)
        save(encoded(data), folder)
        found = await rates(data, folder)
        ours = await losses(data, folder / "store")
        theirs = vowpal(folder, "losses", *PASSES)
    found["best_loss"] = truth.loss_of_truth(lambda numbers: numbers % FOLD == FOLD - 1)
    found["passes"] = compared(ours, theirs)
    print(json.dumps(found, indent=1))
    write("vowpal", before, found)


if __name__ == "__main__":
    asyncio.run(main())
