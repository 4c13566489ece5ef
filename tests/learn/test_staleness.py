"""Damping of late steps: full where the news is new, and workers that help in any number."""

from __future__ import annotations

import math
from collections import deque
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.core.placement import shard_of
from cirrus.learn.base import Batch, TableSpec
from cirrus.learn.logistic import Logistic
from cirrus.learn.metrics import log_loss
from cirrus.learn.rows import Floats, Rows
from cirrus.learn.staleness import damping
from cirrus.learn.tables import Table
from cirrus.models import LogisticRegression
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer

pytestmark = pytest.mark.usefixtures("loops")

ALL: tuple[Optimizer, ...] = (SGD(0.1), Momentum(0.01), Nesterov(0.01), Adagrad(0.1), Adam(0.001), FTRL(0.1, 0.1))
FEATURES = 4096


def name(value: object) -> str:
    return type(value).__name__ if isinstance(value, Optimizer) else str(value)


def floats(*values: float) -> Floats:
    return np.array(values, np.float32)


def test_the_factor_is_one_for_what_nobody_has_said() -> None:
    gradient = floats(1, -2, 3)
    for moved in (floats(0, 0, 0), floats(-1, 2, -3), floats(2, 1, 0)):
        assert damping(gradient, gradient * np.float32(0.1), moved) == 1.0


@pytest.mark.parametrize("echo", [0.1, 1.0, 2.0, 5.0, 1e30])
def test_the_factor_sinks_with_each_echo(echo: float) -> None:
    gradient = floats(1, -2, 3)
    step = gradient * np.float32(0.1)
    wanted = math.exp(-min(echo, 10.0) ** 2)
    assert damping(gradient, step, step * np.float32(echo)) == pytest.approx(wanted, rel=1e-4)


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3), min_size=1, max_size=9))
def test_the_factor_is_between_zero_and_one(rows: list[tuple[float, float, float]]) -> None:
    gradient, step, moved = np.array(rows, np.float32).T
    assert 0.0 <= damping(gradient, step, moved) <= 1.0


def test_a_gradient_of_nothing_is_no_echo() -> None:
    assert damping(floats(0, 0), floats(0, 0), floats(1, 1)) == 1.0
    assert damping(floats(1), floats(1), floats(math.nan)) == 1.0


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("optimizer", ALL, ids=name)
def test_one_step_in_flight_is_never_damped(optimizer: Optimizer, width: int) -> None:
    rng = np.random.default_rng(0)
    damped = Table(TableSpec("t", 23, width, optimizer, l2=0.01, free=3, stale="damp"), 0, 1)
    plain = Table(TableSpec("t", 23, width, optimizer, l2=0.01, free=3), 0, 1)
    for _ in range(50):
        local = np.flatnonzero(rng.random(23) < 0.3)
        gradient = rng.normal(size=(len(local), width)).astype(np.float32)
        damped.push(local, gradient, damped.pull(local))
        plain.push(local, gradient, plain.pull(local))
    np.testing.assert_array_equal(damped.weights(), plain.weights())


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("optimizer", ALL, ids=name)
def test_the_same_news_from_a_hundred_workers_moves_a_few_steps(optimizer: Optimizer, width: int) -> None:
    def ends(workers: int, stale: str) -> Floats:
        table = Table(TableSpec("t", 5, width, optimizer, stale=stale), 0, 1)  # type: ignore[arg-type]
        local = np.arange(5)
        gradient = np.random.default_rng(0).normal(size=(5, width)).astype(np.float32)
        pulled = table.pull(local)
        for _ in range(workers):
            table.push(local, gradient, pulled)
        for _ in range(200):  # what velocities have left to do
            table.push(local, np.zeros_like(gradient))
        return table.weights()

    one, damped, plain = (float(np.abs(ends(*how)).sum()) for how in ((1, "damp"), (100, "damp"), (100, "apply")))
    assert one < damped < 5 * one
    assert plain > 2 * damped


def test_tables_that_apply_take_late_steps_as_they_are() -> None:
    table = Table(TableSpec("counts", 1, 1, SGD(1.0)), 0, 1)
    assert not table.damps
    pulled = table.pull(np.array([0]))
    for _ in range(50):
        table.push(np.array([0]), -np.ones((1, 1), np.float32), pulled)
    assert table.weights()[0, 0] == 50.0


def clicks(count: int) -> tuple[Rows, Rows]:
    """Rows of 20 categories, few frequent and many rare, with labels drawn from known weights; a tenth for testing."""
    rng = np.random.default_rng(7)
    sizes = np.geomspace(3, 2000, 20).astype(int)
    columns = [np.minimum((size * rng.random(count) ** 3).astype(int), size - 1) + size * 7 for size in sizes]
    x = (np.stack(columns, axis=1) * 2654435761 % FEATURES).astype(np.uint32)
    margins = rng.normal(size=FEATURES)[x].sum(axis=1) * 0.5
    labels = (rng.random(count) < 1 / (1 + np.exp(-(margins - margins.mean() - 1.2)))).astype(np.float32)
    whole = Rows(labels, np.arange(count + 1, dtype=np.int64) * 20, x.ravel())
    return whole.slice(0, count * 9 // 10), whole.slice(count * 9 // 10, count)


TRAIN, TEST = clicks(30_000)


def learn(optimizer: Optimizer, in_flight: int, shards: int = 1, stale: str = "damp") -> float:
    """The test loss after one epoch in which every gradient is late by ``in_flight - 1`` steps, on all shards."""
    kernel = Logistic(LogisticRegression(), FEATURES, optimizer)
    (spec,) = kernel.tables()
    spec = TableSpec(spec.name, spec.rows, 1, optimizer, free=spec.free, stale=stale)  # type: ignore[arg-type]
    tables = [Table(spec, shard, shards) for shard in range(shards)]
    under_way: deque[tuple[Batch, list[np.ndarray[tuple[int], np.dtype[np.bool_]]], list[Floats]]] = deque()

    def push() -> None:
        batch, here, pulled = under_way.popleft()
        keys = batch.keys[0].astype(np.intp)
        values = np.empty((len(keys), 1), np.float32)
        for mine, part in zip(here, pulled, strict=True):
            values[mine] = part
        gradient = kernel.gradient(batch, (values,)).tables[0]
        for table, mine, part in zip(tables, here, pulled, strict=True):
            table.push(keys[mine] // shards, gradient[mine], part)

    for batch in kernel.batches(TRAIN, 50):
        keys = batch.keys[0].astype(np.intp)
        here = [shard_of(keys, shards) == shard for shard in range(shards)]
        parts = [table.pull(keys[mine] // shards) for table, mine in zip(tables, here, strict=True)]
        under_way.append((batch, here, parts))
        if len(under_way) == in_flight:
            push()
    while under_way:
        push()
    test = kernel.batch(TEST, 0)
    whole = np.empty((spec.rows, 1), np.float32)
    for shard, table in enumerate(tables):
        whole[shard::shards] = table.weights()
    return log_loss(TEST.labels, kernel.scores(test, (whole[test.keys[0]],)))


@cache
def alone(optimizer: Optimizer) -> float:
    return learn(optimizer, 1)


@pytest.mark.parametrize("optimizer", ALL, ids=name)
@pytest.mark.parametrize(("in_flight", "loss"), [(16, 0.025), (128, 0.1)])
def test_workers_help_in_any_number(optimizer: Optimizer, in_flight: int, loss: float) -> None:
    """Of 540 steps a quarter in flight slow learning down, as they must, but nothing goes astray."""
    assert learn(optimizer, in_flight) < alone(optimizer) + loss


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adagrad(0.1)], ids=name)
def test_each_shard_may_judge_by_its_own_rows(optimizer: Optimizer) -> None:
    assert learn(optimizer, 64, shards=4) < learn(optimizer, 64) + 0.01


def test_without_damping_late_steps_run_away() -> None:
    assert learn(SGD(0.1), 128, stale="apply") > 1.0
