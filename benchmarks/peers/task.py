"""What every peer is given and tells: the rows, how long, how good; and what came of it, as one line of JSON.

Runs in the peer's own environment: numpy, scipy and psutil are all that is there besides the peer itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import psutil

from benchmarks.kernels import Floats, Lines

WORKERS = 4
MINIBATCH = 100
LOOK = 0.1
"""Seconds between two looks at a model."""


@dataclass(frozen=True)
class Outcome:
    """Updates of the model that were ``applied`` by anybody, and those that ``survived`` in it, in ``seconds``.

    An update is the gradient of ``rows`` rows. ``processor`` is seconds of processor time meanwhile, of all processes.
    ``reached`` is the seconds from the first step until the test loss was near enough; ``whole`` those from the
    program's start until that was known, with all that had to begin before; None where it never was.
    """

    applied: int
    survived: int
    seconds: float
    processor: float
    reached: float | None
    whole: float | None
    rows: int = MINIBATCH


@dataclass(frozen=True)
class Task:
    """``train.bin`` and ``test.bin`` in ``folder``, seconds to learn for, the test loss that is near enough."""

    folder: Path
    seconds: float
    goal: float
    variant: str

    @classmethod
    def given(cls) -> Task:
        """From the arguments: ``FOLDER SECONDS LOSS [VARIANT]``."""
        folder, seconds, goal, *variant = sys.argv[1:]
        return cls(Path(folder), float(seconds), float(goal), "".join(variant))

    @cached_property
    def train(self) -> Lines:
        return Lines.parse((self.folder / "train.bin").read_bytes())

    @cached_property
    def test(self) -> Lines:
        return Lines.parse((self.folder / "test.bin").read_bytes())

    @property
    def minibatches(self) -> int:
        return len(self.train.labels) // MINIBATCH

    def minibatch(self, number: int) -> Lines:
        return self.train.slice(number * MINIBATCH, (number + 1) * MINIBATCH)

    def share(self, worker: int) -> range:
        """The numbers of the minibatches that one of the workers learns from."""
        return range(worker, self.minibatches, WORKERS)

    def near(self, weights: Floats) -> bool:
        """Whether a model is good enough."""
        return self.test.loss(weights) <= self.goal

    def watch(self, weights: Callable[[], Floats], begin: float) -> tuple[float | None, float | None]:
        """Look at a model that is being learnt since ``begin``: ``reached`` and ``whole`` of the outcome."""
        while (passed := time.time() - begin) < self.seconds:
            if self.near(weights()):
                return passed, age()
            time.sleep(LOOK)
        return None, None


def age() -> float:
    """Seconds since this program began."""
    return time.time() - psutil.Process().create_time()


@dataclass
class Meter:
    """Seconds of processor time that this process and its descendants took while it was on."""

    processor: float = 0.0


@contextmanager
def metered() -> Iterator[Meter]:
    meter = Meter()
    before = processor_time(family())
    yield meter
    meter.processor = processor_time(family()) - before


def family() -> list[psutil.Process]:
    """This process and its descendants."""
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def processor_time(processes: Iterable[psutil.Process]) -> float:
    """Of these and their dead children, in seconds."""
    return sum(sum(one.cpu_times()[:4]) for one in processes)


def tell(outcome: Outcome) -> None:
    """Say what came of it, after everything else that was printed, and end at once whatever else still goes on."""
    print(json.dumps(asdict(outcome)), flush=True)
    sys.stderr.flush()
    os._exit(0)
