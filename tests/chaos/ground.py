"""What chaos tests share: a pipeline whose result shows every loss and every double, and a look at the processes."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from cirrus.cloud.places import Local, local
from cirrus.learn.schedule import steps_in
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.results import Result
from cirrus.sources import libsvm
from cirrus.testing.counting import Counting
from cirrus.trained import Model
from cirrus.until import epochs
from tests.chaos.costly import Costly

WORKER = "cirrus.actors.worker_process"


@dataclass(frozen=True, slots=True)
class Oracle:
    """A training stage that counts its minibatches: ``rows`` rows in blocks of ``block``, ``passes`` times.

    Each takes a worker ``pause`` seconds.
    """

    rows: int = 3200
    block: int = 64
    minibatch: int = 4
    passes: int = 2
    pause: float = 0.0

    @property
    def steps(self) -> int:
        """Minibatches of one pass."""
        whole, rest = divmod(self.rows, self.block)
        return whole * steps_in(self.block, self.minibatch) + steps_in(rest, self.minibatch)

    @property
    def units(self) -> int:
        """Blocks of all passes."""
        return -(-self.rows // self.block) * self.passes

    def pipeline(self, folder: Path, train: Train) -> Pipeline:
        """The pipeline, with rows of its own in ``folder``; ``train`` says everything else of the training stage."""
        path = folder / "rows.libsvm"
        path.write_text("".join(f"{number % 2} 1:1\n" for number in range(self.rows)))
        return Pipeline(
            name="oracle",
            data=libsvm(path, features=1),
            stages=(Prepare(test=0.0, block=self.block, workers=1), train),
        )

    def train(
        self, *, workers: int, shards: int = 1, depth: int = 2, timeout: float = 900.0, memory: int = 600
    ) -> Train:
        """A stage that counts."""
        room = self.steps + 5
        return Train(
            model=Costly(room, seconds=self.pause) if self.pause else Counting(room),
            minibatch=self.minibatch, until=epochs(self.passes),
            workers=workers, shards=shards, depth=depth, timeout=timeout, memory=memory,
        )

    def check(self, result: Result) -> None:
        """Every minibatch has counted exactly once in every pass."""
        self.check_model(result.model)

    def check_model(self, model: Model) -> None:
        """The same of a model that was read from the store."""
        counts: NDArray[np.float32] = model.weights["counts"][:, 0]
        expected = np.zeros(self.steps + 5, np.float32)
        expected[: self.steps] = self.passes
        wrong = np.flatnonzero(counts != expected)
        found = {int(one): float(counts[one]) for one in wrong[:10]}
        assert not len(wrong), f"{len(wrong)} of {self.steps} minibatches counted otherwise than {self.passes}: {found}"


def store_in(folder: Path) -> Local:
    """A place for the objects."""
    return local(folder / "store")


def worker_pids(pool: str, parent: int | None = None) -> list[int]:
    """The processes that the system shows as workers of that pool, started by this process, zombies left out."""
    found = []
    for child in psutil.Process(parent or os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            words = child.cmdline()
            if WORKER in words and words[words.index(WORKER) + 1 :][:1] == [pool]:
                found.append(child.pid)
    return sorted(found)


def kill(pid: int) -> bool:
    """End a process that this test's run started, without a warning; whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
