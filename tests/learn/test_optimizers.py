"""Every optimiser equals its plain form, whatever rows are pushed, pulled and left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cirrus.core.placement import shard_of
from cirrus.learn.base import TableSpec
from cirrus.learn.tables import Table
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer
from tests.learn.plain import Plain

pytestmark = pytest.mark.usefixtures("loops")

ALL: tuple[Optimizer, ...] = (
    SGD(0.3), Momentum(0.1, 0.8), Nesterov(0.1, 0.8), Adagrad(0.2, 0.01), Adam(0.05), FTRL(0.3, 1.0),
)  # fmt: skip
WITH_L1: tuple[Optimizer, ...] = (SGD(0.3), Adagrad(0.2, 0.01), FTRL(0.3, 1.0))
PENALISED = [(one, 0.05, 0.0) for one in ALL] + [(one, l2, 0.03) for one in WITH_L1 for l2 in (0.0, 0.05)]
ROWS = 23


def name(value: object) -> str:
    return type(value).__name__ if isinstance(value, Optimizer) else str(value)


def walk(spec: TableSpec, shards: int, seed: int, steps: int = 60) -> None:
    """Push random rows to all shards and to the plain table, looking at random rows in between."""
    rng = np.random.default_rng(seed)
    tables = [Table(spec, shard, shards) for shard in range(shards)]
    plain = Plain(spec)
    for _ in range(steps):
        keys = np.flatnonzero(rng.random(spec.rows) < rng.choice([0.05, 0.3]))
        gradient = rng.normal(size=(len(keys), spec.width)).astype(np.float32)
        looked = np.flatnonzero(rng.random(spec.rows) < 0.2)
        for shard, table in enumerate(tables):
            seen = looked[shard_of(looked, shards) == shard]
            look = table.pull if rng.random() < 0.5 else table.read
            np.testing.assert_allclose(look(seen // shards), plain.w[seen], rtol=2e-4, atol=2e-5)
            here = shard_of(keys, shards) == shard
            if here.any() or rng.random() < 0.5:
                table.push(keys[here] // shards, gradient[here])
            else:
                table.tick()
        plain.step(keys, gradient.astype(np.float64))
    for shard, table in enumerate(tables):
        assert table.clock == steps
        np.testing.assert_allclose(table.weights(), plain.w[shard::shards], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize("optimizer", ALL, ids=name)
def test_the_rule_is_its_plain_form(optimizer: Optimizer, width: int) -> None:
    walk(TableSpec("t", ROWS, width, optimizer), 1, seed=width)


@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize(("optimizer", "l2", "l1"), PENALISED, ids=name)
def test_lazy_penalties_are_exact(optimizer: Optimizer, l2: float, l1: float, width: int) -> None:
    walk(TableSpec("t", ROWS, width, optimizer, l2=l2, l1=l1, free=ROWS - 1), 1, seed=3)
    walk(TableSpec("t", ROWS, width, optimizer, l2=l2, l1=l1, free=4), 3, seed=4)
    walk(TableSpec("t", ROWS, width, optimizer, l2=l2, l1=l1), 2, seed=5)


@settings(max_examples=40, deadline=None)
@given(
    optimizer=st.sampled_from(ALL),
    l2=st.floats(0.0, 2.0),
    width=st.integers(1, 3),
    shards=st.integers(1, 4),
    free=st.none() | st.integers(0, ROWS - 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_table_is_its_plain_form(
    optimizer: Optimizer, l2: float, width: int, shards: int, free: int | None, seed: int
) -> None:
    walk(TableSpec("t", ROWS, width, optimizer, l2=l2, free=free), shards, seed, steps=25)


@pytest.mark.parametrize("optimizer", WITH_L1, ids=name)
def test_l1_makes_exact_zeros_and_keeps_the_free_row(optimizer: Optimizer) -> None:
    table = Table(TableSpec("t", 3, 1, optimizer, l1=0.01, free=2), 0, 1)
    table.push(np.arange(3), np.full((3, 1), -0.1, np.float32))
    before = table.read(np.arange(3))
    for _ in range(10_000):
        table.tick()
    after = table.weights()
    assert (before > 0.0).all()
    assert (after[:2] == 0.0).all()
    assert after[2] == before[2]


def test_a_penalty_larger_than_the_inverse_rate_ends_at_zero_and_does_not_swing() -> None:
    table = Table(TableSpec("t", 2, 1, SGD(1.0), l2=3.0), 0, 1)
    table.push(np.arange(2), np.ones((2, 1), np.float32))
    assert not table.weights().any()


def test_rows_that_are_not_pushed_rest() -> None:
    """The original kept one velocity for all weights, so that every row moved with every other."""
    for optimizer in ALL:
        table = Table(TableSpec("t", 4, 1, optimizer), 0, 1)
        table.push(np.array([0]), np.ones((1, 1), np.float32))
        alone = table.weights()
        table.push(np.array([3]), np.ones((1, 1), np.float32))
        assert not table.weights()[1:3].any()
        assert table.weights()[0] == alone[0]
