"""A table's part: placement, snapshots, and what reading, pulling and pushing leave behind."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from cirrus.errors import Corrupt
from cirrus.learn.base import TableSpec
from cirrus.learn.tables import Table
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer

pytestmark = pytest.mark.usefixtures("loops")

ALL: tuple[Optimizer, ...] = (SGD(), Momentum(), Nesterov(), Adagrad(), Adam(), FTRL())


def pushed(table: Table, seed: int, steps: int = 20) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        local = np.flatnonzero(rng.random(table.rows) < 0.3)
        table.push(local, rng.normal(size=(len(local), table.spec.width)).astype(np.float32))


@pytest.mark.parametrize("optimizer", ALL, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_a_restored_table_goes_on_as_if_nothing_had_happened(optimizer: Optimizer, l2: float) -> None:
    spec = TableSpec("t", 41, 3, optimizer, l2=l2, free=7)
    first, second = Table(spec, 1, 2), Table(spec, 1, 2)
    pushed(first, 1)
    second.restore(first.arrays(), first.clock)
    for table in (first, second):
        pushed(table, 2)
    assert first.clock == second.clock == 40
    np.testing.assert_array_equal(first.weights(), second.weights())
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(array, second.arrays()[name])


def test_a_snapshot_is_not_touched_by_later_pushes() -> None:
    table = Table(TableSpec("t", 10, 1, Adagrad()), 0, 1)
    pushed(table, 1)
    saved = table.arrays()
    kept = {name: array.copy() for name, array in saved.items()}
    pushed(table, 2)
    for name, array in saved.items():
        np.testing.assert_array_equal(array, kept[name])


def test_what_is_no_snapshot_of_this_table_is_refused_and_changes_nothing() -> None:
    table = Table(TableSpec("t", 10, 1, Adagrad()), 0, 1)
    pushed(table, 1)
    weights, good = table.weights(), table.arrays()
    bad: tuple[dict[str, NDArray[np.generic]], ...] = (
        {},
        {"weights": good["weights"]},
        {**good, "more": good["weights"]},
        {**good, "squares": good["squares"][:-1]},
        {**good, "squares": good["squares"].astype(np.float64)},
    )
    for arrays in bad:
        with pytest.raises(Corrupt, match="t: arra"):
            table.restore(arrays, 3)
    with pytest.raises(Corrupt):
        table.restore(good, -1)
    assert table.clock == 20
    np.testing.assert_array_equal(table.weights(), weights)


def test_reading_writes_nothing() -> None:
    table = Table(TableSpec("t", 10, 2, SGD(), l2=0.1), 0, 1)
    pushed(table, 1)
    before = table.arrays()
    table.read(np.arange(10))
    table.weights()
    for name, array in table.arrays().items():
        np.testing.assert_array_equal(array, before[name])


def test_values_are_new_arrays() -> None:
    for width in (1, 2):
        table = Table(TableSpec("t", 4, width, SGD()), 0, 1)
        table.pull(np.arange(4))[:] = 9.0
        assert not table.weights().any()
        assert table.pull(np.array([], np.intp)).shape == (0, width)


def test_the_parts_of_a_table_have_all_its_rows_and_no_more() -> None:
    spec = TableSpec("t", 11, 1, SGD())
    assert [Table(spec, shard, 4).rows for shard in range(4)] == [3, 3, 3, 2]
    assert [Table(TableSpec("t", 2, 1, SGD()), shard, 4).rows for shard in range(4)] == [1, 1, 0, 0]


def test_memory_is_weights_and_state_and_a_clock_a_row_where_there_is_a_penalty() -> None:
    sizes = {one: Table(TableSpec("t", 1000, 1, one), 0, 1).nbytes for one in ALL}
    assert list(sizes.values()) == [4000, 8000, 8000, 8000, 16000, 8000]
    assert Table(TableSpec("t", 1000, 7, Adagrad(), l2=0.1), 0, 1).nbytes == 2 * 28_000 + 4000
    assert Table(TableSpec("t", 1000, 7, FTRL(), l2=0.1), 0, 1).nbytes == 2 * 28_000
