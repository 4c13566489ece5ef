"""With one worker the same seed gives the same weights, bit for bit, and another seed gives others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cirrus.cloud.places import local
from cirrus.models import LogisticRegression
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.runs import run
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash, every
from cirrus.testing.data import criteo_like
from cirrus.trained import Model
from cirrus.until import epochs


def stage(name: str, optimizer: Optimizer, depth: int = 2, l2: float = 0.0, l1: float = 0.0) -> Train:
    """One worker, measured all the time, on blocks that it learns from in another order in each epoch."""
    model = LogisticRegression(l2=l2, l1=l1)
    return Train(
        model=model, optimizer=optimizer, minibatch=50, until=epochs(2), workers=1, seed=7, depth=depth, evaluate=0.01,
        name=name,
    )  # fmt: skip


ONE_SHARD = (
    stage("adagrad", Adagrad(), l2=1e-3),
    replace(stage("another-seed", Adagrad(), l2=1e-3), seed=8),
    stage("adam", Adam(rate=0.01), depth=4),
    stage("ftrl", FTRL(), depth=4, l2=1e-4, l1=1e-4),
    stage("sgd", SGD(), depth=1, l1=1e-4),
    stage("momentum", Momentum(), depth=4),
    stage("nesterov", Nesterov(), l2=1e-3),
)
TWO_SHARDS = (
    replace(stage("adagrad", Adagrad(), depth=4, l2=1e-3), shards=2),
    replace(stage("adam", Adam(rate=0.01), l2=1e-3), shards=2),
)

Weights = dict[str, bytes]


@pytest.fixture(scope="module")
def twice(loops: str, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Weights, Weights]]:
    """For one shard and for two, the weights by stage of two runs of the same pipeline, side by side."""
    folder = tmp_path_factory.mktemp(f"determinism-{loops}")
    data = folder / "clicks.tsv"
    criteo_like(data, rows=4000, seed=3)
    prepare = Prepare(steps=(Bucket(), Hash(bits=12)), test=every(5, at=4), workers=1, block=512)

    async def weights(stages: tuple[Train, ...], store: Path) -> Weights:
        result = await run(Pipeline(name="same", data=criteo(data), stages=(prepare, *stages)), on=local(store))
        kept = store / "runs" / result.run_id
        models = {one.name: Model.load(kept / one.name / "model.safetensors") for one in stages}
        assert all(np.count_nonzero(one.weights["weights"]) > 100 for one in models.values())
        return {name: one.weights["weights"].tobytes() for name, one in models.items()}

    async def pair(stages: tuple[Train, ...], name: str) -> tuple[Weights, Weights]:
        first, second = await asyncio.gather(*[weights(stages, folder / f"{name}-{k}") for k in range(2)])
        return first, second

    return {1: asyncio.run(pair(ONE_SHARD, "one")), 2: asyncio.run(pair(TWO_SHARDS, "two"))}


@pytest.mark.parametrize("name", [one.name for one in ONE_SHARD])
def test_the_same_seed_gives_the_same_weights(twice: dict[int, tuple[Weights, Weights]], name: str) -> None:
    first, second = twice[1]
    assert first[name] == second[name]


@pytest.mark.parametrize("name", [one.name for one in TWO_SHARDS])
def test_the_same_seed_gives_the_same_weights_on_two_shards(
    twice: dict[int, tuple[Weights, Weights]], name: str
) -> None:
    first, second = twice[2]
    assert first[name] == second[name]


def test_another_seed_gives_other_weights(twice: dict[int, tuple[Weights, Weights]]) -> None:
    first, _ = twice[1]
    assert first["adagrad"] != first["another-seed"]
