"""A worker that tells when it got its first lease; part of the bundles of ``benchmarks.cold_start``.

As a module it has a function's handler; as a script it is a process that imports from an unpacked bundle alone:

    python -I -S -B timed.py <folder of the bundle> <file to tell it in>
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

import numpy as np

from cirrus.actors import worker
from cirrus.actors.worker_process import age
from cirrus.core.messages import Lease
from cirrus.learn.base import Batch, Gradient, Kernel, TableSpec
from cirrus.learn.rows import Floats, Rows
from cirrus.models import ModelSpec
from cirrus.optimizers import SGD, Optimizer
from lambda_handler import handler as workers

if TYPE_CHECKING:
    from cirrus.core.messages import Order, Welcome


@dataclass(frozen=True, slots=True)
class Waiting(ModelSpec):
    """Learns nothing, and takes ``seconds`` for each minibatch."""

    kernel: ClassVar[str] = "timed:WaitingKernel"

    seconds: float = 0.2


class WaitingKernel(Kernel):
    def __init__(self, spec: Waiting, features: int, optimizer: Optimizer) -> None:  # noqa: ARG002  the kernel's port
        self._seconds = spec.seconds
        self._tables = (TableSpec("weights", 1, 1, SGD(rate=1.0)),)

    def tables(self) -> tuple[TableSpec, ...]:
        return self._tables

    def batch(self, rows: Rows, number: int) -> Batch:
        return Batch((np.zeros(1, np.uint32),), rows, number)

    def gradient(self, batch: Batch, tables: tuple[Floats, ...]) -> Gradient:  # noqa: ARG002  the kernel's port
        time.sleep(self._seconds)
        return Gradient((np.zeros((1, 1), np.float32),), 0.0)

    def scores(self, batch: Batch, tables: tuple[Floats, ...]) -> Floats:  # noqa: ARG002  the kernel's port
        return np.zeros(len(batch.rows), np.float32)


class Line(worker.Line):
    """Tells of the first lease: seconds since the process was made, of its processor, and on this machine's clock."""

    told = False

    def _hear(self, message: Welcome | Lease | Order) -> None:
        if isinstance(message, Lease) and not self.told:
            self.told = True
            found = {"age": age(), "processor": time.process_time(), "at": time.monotonic()}
            print(json.dumps({"lease": found}), flush=True)
        super()._hear(message)


worker.Line = Line  # type: ignore[misc]


class Context:
    """An invocation that may take a minute."""

    memory_limit_in_mb: int | str = "600"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def handler(event: dict[str, object], context: Context) -> dict[str, object]:
    """Work once, and end, so that the next one begins cold; whoever was asked before whether it can is warm."""
    if "hello" in event or event["role"] != "train":
        Line.told = True
    answer = workers.handler(event, context)
    if "hello" not in event:
        os._exit(0)
    return answer


if __name__ == "__main__":
    with Path(sys.argv[2]).open("a", encoding="utf-8") as sys.stdout:
        handler(json.loads(sys.stdin.readline()), Context())
