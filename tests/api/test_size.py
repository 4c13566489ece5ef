"""Two million rows go through a run of which no process grows large.

``CIRRUS_SIZE_ROWS`` makes the file smaller or larger, at about 245 bytes a row.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cirrus.actors.kernel import Kernel
from cirrus.clock import Clock, SystemClock
from cirrus.cloud.places import local
from cirrus.models import LogisticRegression
from cirrus.optimizers import Adagrad
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.results import Result
from cirrus.runs import run
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash, every
from cirrus.until import epochs

ROWS = int(os.environ.get("CIRRUS_SIZE_ROWS") or 2_000_000)
MOST = 600 * 10**6
LOOK = 0.05
SHARD, WORKER = "cirrus.actors.host", "cirrus.actors.worker_process"
MAKE = "import sys; from cirrus.testing.data import criteo_like; criteo_like(sys.argv[1], int(sys.argv[2]), seed=1)"


class Scales:
    """The largest resident size of each kind of process, and how much this one has grown, in bytes."""

    def __init__(self) -> None:
        gc.collect()
        self._me = psutil.Process()
        self._own = self._me.cmdline()
        self._before = self._me.memory_info().rss
        self._kinds: dict[int, str] = {}
        self.largest: dict[str, int] = {}

    async def watch(self, clock: Clock) -> None:
        while True:
            self._note("driver", self._me.memory_info().rss - self._before)
            for child in self._me.children(recursive=True):
                try:
                    if child.cmdline() != self._own:  # until it is a program of its own, its pages are this process's
                        self._note(self._kind(child), child.memory_info().rss)
                except psutil.Error:
                    continue  # it has just ended
            await clock.sleep(LOOK)

    def _note(self, kind: str, size: int) -> None:
        self.largest[kind] = max(self.largest.get(kind, 0), size)

    def _kind(self, child: psutil.Process) -> str:
        if child.pid not in self._kinds:
            words = child.cmdline()
            if SHARD in words:
                self._kinds[child.pid] = "shard"
            elif WORKER in words:
                self._kinds[child.pid] = words[words.index(WORKER) + 1]
            else:
                return "starting"
        return self._kinds[child.pid]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own temporary folder, which would keep a gigabyte for days."""
    with tempfile.TemporaryDirectory(prefix="cirrus-size-") as folder:
        yield Path(folder)


async def weighed(pipeline: Pipeline, store: Path) -> tuple[Result, dict[str, int]]:
    clock, scales = SystemClock(), Scales()
    async with Kernel(clock) as kernel:
        watch = kernel.task(scales.watch(clock), name="scales")
        result = await run(pipeline, on=local(store))
        await watch.cancel()
    return result, scales.largest


@pytest.mark.timeout(600)
def test_no_process_grows_large(folder: Path) -> None:
    path = folder / "clicks.tsv"
    subprocess.run([sys.executable, "-c", MAKE, path, str(ROWS)], check=True)
    stages = (
        Prepare(steps=(Bucket(), Hash(bits=18)), test=every(5, at=4), workers=2),
        Train(
            model=LogisticRegression(l2=1e-6), optimizer=Adagrad(rate=0.05), minibatch=100, until=epochs(2), workers=2
        ),
    )
    result, largest = asyncio.run(weighed(Pipeline(name="size", data=criteo(path), stages=stages), folder / "store"))
    print({kind: f"{size / 1e6:.0f} MB" for kind, size in sorted(largest.items())})
    assert result.metrics["prepare"]["rows_in"] == ROWS
    assert result.metrics["train"]["samples"] == 2 * (ROWS - ROWS // 5)
    assert {"shard", "prepare", "train", "train.eval", "driver"} <= largest.keys()
    assert {kind: size for kind, size in largest.items() if size > MOST} == {}
