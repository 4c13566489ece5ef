"""Vowpal Wabbit: passes over rows that it has cached, and test losses after them.

Runs in the peer's own environment, with ``FOLDER rate PASSES`` or ``FOLDER losses PASSES...``, on the rows in
``train.vw`` and ``test.vw``; what it says is one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from vowpalwabbit import pyvw

BITS = 18
COMMON = f"--quiet -b {BITS} --loss_function logistic"
RATES = (0.25, 0.5, 1.0, 2.0)


def run(arguments: str) -> tuple[float, float, float, float]:
    """Rows, and their mean loss as they came; seconds, and those of the processor."""
    begin, spent = time.perf_counter(), time.process_time()
    workspace = pyvw.Workspace(f"{COMMON} {arguments}")
    workspace.run_parser()
    rows = workspace.get_weighted_examples()
    loss = workspace.get_sum_loss() / rows
    workspace.finish()
    return rows, loss, time.perf_counter() - begin, time.process_time() - spent


def learn(folder: Path, rate: float, passes: int) -> tuple[float, float, float, float]:
    """Learn from cached rows, which are cached if they are not yet."""
    files = f"-d {folder}/train.vw --cache_file {folder}/cache -f {folder}/model"
    return run(f"--sgd -l {rate} --holdout_off --passes {passes} {files}")


def rate(folder: Path, passes: int) -> dict[str, float]:
    """Rows a second, and microseconds of processor time a row."""
    rows, _, seconds, spent = learn(folder, 0.5, passes)
    return {"rows_per_second": rows / seconds, "row_us": 1e6 * spent / rows}


def losses(folder: Path, numbers: list[int]) -> list[dict[str, float]]:
    """The test loss of each learning rate after each number of passes."""
    found = []
    for passes in numbers:
        for one in RATES:
            _, _, seconds, _ = learn(folder, one, passes)
            _, loss, _, _ = run(f"-t -i {folder}/model -d {folder}/test.vw")
            found.append({"passes": passes, "rate": one, "loss": loss, "seconds": seconds})
    return found


if __name__ == "__main__":
    where, what, *given = sys.argv[1:]
    told = [int(one) for one in given]
    print(json.dumps(rate(Path(where), *told) if what == "rate" else losses(Path(where), told)))
