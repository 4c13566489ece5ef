"""A pipeline that learns clicks and counts its minibatches beside: what it learns and counts shows every fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cirrus.learn.schedule import steps_in
from cirrus.pipeline import Pipeline, Prepare, Train, Tune
from cirrus.results import Result
from cirrus.search import Grid, Halving, choice
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash, every
from cirrus.store.base import ObjectStore
from cirrus.store.datasets import load
from cirrus.testing.data import criteo_like
from cirrus.trained import Model
from cirrus.until import epochs
from tests.chaos.models import CountedLogistic

ROWS = 20_000
PASSES = 10
BLOCK, MINIBATCH = 500, 100

TIMEOUT = 120.0
"""Seconds that a worker may take."""

ROOM = 300
"""More minibatches than there are."""


def gate(folder: Path) -> Path:
    """The file that lets learning go on at full speed."""
    return folder / "gate"


def clicks(folder: Path, workers: int, shards: int) -> Pipeline:
    """The pipeline, its rows in ``folder``, where they are made if they are not there."""
    path = folder / "clicks.tsv"
    if not path.exists():
        criteo_like(path, ROWS, seed=3)
    return Pipeline(
        name="clicks",
        data=criteo(path),
        stages=(
            Prepare(steps=(Bucket(), Hash(bits=14)), test=every(5, at=4), workers=1, block=BLOCK),
            Train(
                model=CountedLogistic(room=ROOM, gate=str(gate(folder))), minibatch=MINIBATCH,
                until=epochs(PASSES), workers=workers, shards=shards, snapshot=1.0, timeout=TIMEOUT,
            ),
        ),
    )  # fmt: skip


def trials(folder: Path, workers: int, shards: int) -> Pipeline:
    """The same rows, learnt by six trials, three at once, of which the better third comes to its end."""
    whole = clicks(folder, workers, shards)
    space = {"optimizer.rate": choice(0.02, 0.05, 0.1, 0.15, 0.2, 0.3)}
    tune = Tune(
        replace(whole.trains[0], evaluate=0.3), space=space, sampler=Grid(), at_once=3, workers=workers, prune=Halving()
    )
    return replace(whole, name="trials", stages=(whole.prepare, tune))


async def check(store: ObjectStore, result: Result) -> None:
    """Every minibatch of the data set has counted once in every pass."""
    await check_model(store, result.run_id, result.model)


async def check_model(store: ObjectStore, run_id: str, model: Model) -> None:
    """The same of a model that was read from the store."""
    dataset = await load(store, f"runs/{run_id}/prepare/manifest.json")
    steps = sum(steps_in(block.rows, MINIBATCH) for block in dataset.train)
    expected = np.zeros(ROOM, np.float32)
    expected[:steps] = PASSES
    found = model.weights["counts"][:, 0]
    assert (found == expected).all(), f"{found.tolist()} instead of {PASSES} for each of {steps} minibatches"
