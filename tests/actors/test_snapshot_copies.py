"""A snapshot is the shard at one moment, whatever happens to the shard while it is copied."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cirrus.actors.shard import Connection, Shard
from cirrus.actors.snapshots import Moment, Shelf, begin
from cirrus.errors import StoreError
from cirrus.learn import past
from cirrus.learn.base import TableSpec
from cirrus.learn.tables import Table
from cirrus.native.choice import SWITCH, kernels
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer
from cirrus.store.checkpoints import decode_snapshot, sealed
from cirrus.store.memory import MemoryStore
from cirrus.wire import frames
from cirrus.wire.frames import Step

P = ParamSpec("P")
T = TypeVar("T")

ROWS = 40
OPTIMIZERS: tuple[Optimizer, ...] = (SGD(), Momentum(), Nesterov(), Adagrad(), Adam(), FTRL())
WITH_L1 = (SGD, Adagrad, FTRL)
LOOPS = ("numpy", "compiled") if kernels() is not None else ("numpy",)
KEYS = st.sets(st.integers(0, ROWS - 1), max_size=ROWS).map(lambda keys: np.array(sorted(keys), np.uint32))


@contextmanager
def by(loops: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "0" if loops == "numpy" else "1")
        yield


@st.composite
def specs(draw: st.DrawFn, name: str = "t") -> TableSpec:
    optimizer = draw(st.sampled_from(OPTIMIZERS))
    l1 = draw(st.sampled_from([0.0, 1e-2])) if isinstance(optimizer, WITH_L1) else 0.0
    l2 = draw(st.sampled_from([0.0, 1e-1]))
    free = draw(st.sampled_from([None, ROWS - 1]))
    stale = draw(st.sampled_from(["damp", "apply"]))
    return TableSpec(name, ROWS, draw(st.sampled_from([1, 3])), optimizer, l2, l1, free, stale)  # type: ignore[arg-type]


def pushed(table: Table, keys: np.ndarray[Any, np.dtype[np.uint32]], by: float) -> None:
    local = table.local(keys)
    pulled = table.pull(local)
    table.push(local, np.full((len(keys), table.spec.width), by, np.float32), pulled)


@given(specs(), st.sampled_from(LOOPS), st.lists(st.tuples(KEYS, st.integers(0, ROWS), st.integers(0, 9))), st.data())
def test_a_copy_that_catches_rows_before_and_after_they_change_is_mended(
    spec: TableSpec, loops: str, steps: list[tuple[Any, int, int]], data: st.DataObject
) -> None:
    with by(loops):
        table = Table(spec, 0, 1)
    pushed(table, data.draw(KEYS), 0.5)
    then = table.arrays()
    kept = table.remember()
    copies = {name: np.full_like(array, 77) for name, array in then.items()}
    names = list(copies)
    for number, (keys, until, which) in enumerate(steps):  # a part of an array is copied, then a step is done
        name = names[which % len(names)]
        copies[name][:until] = kept.arrays[name][:until]
        if number % 3:
            pushed(table, keys, number - 1.5)
        else:
            table.pull(table.local(keys))
    kept.copy(copies)
    table.forget()
    pushed(table, data.draw(KEYS), 2.5)
    kept.mend(copies)
    for name, array in then.items():
        assert_array_equal(copies[name], array)


def test_rows_are_kept_once_in_as_many_blocks_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "BLOCK", 8)
    table = Table(TableSpec("t", ROWS, 1, Adam()), 0, 1)
    then, kept = table.arrays(), table.remember()
    rng = np.random.default_rng(3)
    for _ in range(50):
        pushed(table, np.flatnonzero(rng.random(ROWS) < 0.3).astype(np.uint32), 1.0)
    assert table.arrays()["count"].min() > 1
    assert sum(block._used for block in kept._blocks) == ROWS
    assert len(kept._blocks) > 2
    copies = table.arrays()
    kept.mend(copies)
    for name, array in then.items():
        assert_array_equal(copies[name], array)


class Meddling:
    """An offload at whose every call the shard is changed, before the work and after it."""

    def __init__(self, meddle: Callable[[], None]) -> None:
        self.meddle = meddle
        self.calls = 0

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.calls += 1
        self.meddle()
        found = work(*args, **kwargs)
        self.meddle()
        return found


class Traffic:
    """Steps through frames, to one table and to all, whose keys and gradients never repeat."""

    def __init__(self, shard: Shard, seed: int) -> None:
        self.shard = shard
        self.chance = np.random.default_rng(seed)
        self.connection = Connection()
        self.step = 0
        shard.handle(self.connection, frames.encode_open(5, 1))

    def one(self, tables: tuple[int, ...]) -> None:
        keys = [np.flatnonzero(self.chance.random(ROWS) < 0.4).astype(np.uint32) for _ in tables]
        widths = [self.shard.tables[number].spec.width for number in tables]
        gradients = [
            self.chance.normal(size=(len(some), width)).astype(np.float32)
            for some, width in zip(keys, widths, strict=True)
        ]
        pull = frames.encode_step(Step(0, tables, None, tuple(keys)))
        push = frames.encode_step(Step(self.step, tables, tuple(gradients), None))
        self.shard.handle(self.connection, pull + push)
        self.step += 1

    def some(self) -> None:
        everything = tuple(range(len(self.shard.tables)))[:4]
        for tables in (*[(number,) for number in everything], everything):
            self.one(tables)
        self.shard.values.put("v", self.chance.bytes(20), 0.0)


@given(st.tuples(specs("a"), specs("b")), st.sampled_from(LOOPS), st.integers(0, 2**32 - 1))
async def test_a_snapshot_is_the_shard_at_the_moment_when_it_was_asked_for(
    tables: tuple[TableSpec, TableSpec], loops: str, seed: int
) -> None:
    with by(loops):
        shard, store = Shard(0, 1), MemoryStore()
        for spec in tables:
            shard.create(spec)
        traffic = Traffic(shard, seed)
        traffic.some()
        created = 0

        def meddle() -> None:
            nonlocal created
            traffic.some()
            shard.create(TableSpec(f"new{created}", ROWS, 2, Adagrad()))
            created += 1

        offload = Meddling(meddle)
        snapshots = await begin(Shelf(store, "s", 0, offload))
        for number in range(2):
            wanted = a_copy(shard)
            offload.calls = 0
            key = await snapshots.save(shard)
            assert offload.calls > 1
            found = decode_snapshot(await store.get(key), key)
            assert {**found.header, "nonce": ""} == wanted.header
            assert list(found.arrays) == list(wanted.arrays)
            for name, array in wanted.arrays.items():
                assert_array_equal(found.arrays[name], array)
            assert key.endswith(str(number))
    assert all(table.past is None for table in shard.tables)


def a_copy(shard: Shard) -> Any:
    moment = Moment(shard)
    draft = moment.copied()
    moment.end()
    return decode_snapshot(bytes(sealed(draft)), "a copy")


async def test_a_table_that_is_dropped_meanwhile_is_in_the_snapshot_all_the_same() -> None:
    shard, store = Shard(0, 1), MemoryStore()
    shard.create(TableSpec("old", ROWS, 1, Adagrad()))
    traffic = Traffic(shard, 1)
    traffic.some()
    wanted = shard.tables[0].arrays()

    def drop() -> None:
        shard.tables.clear()
        shard.numbers.clear()

    snapshots = await begin(Shelf(store, "s", 0, Meddling(drop)))
    found = decode_snapshot(await store.get(await snapshots.save(shard)), "s")
    assert_array_equal(found.arrays["0.weights"], wanted["weights"])
    assert_array_equal(found.arrays["0.squares"], wanted["squares"])


@pytest.mark.parametrize("loops", LOOPS)
def test_what_another_thread_copies_while_steps_go_on_is_mended(loops: str) -> None:
    with by(loops):
        table = Table(TableSpec("t", 2**20, 1, Adagrad(), l2=0.1), 0, 1)
    rng = np.random.default_rng(9)
    batches = [np.unique(rng.integers(0, 2**20, 5000)).astype(np.uint32) for _ in range(40)]
    for keys in batches:
        pushed(table, keys, 1.0)
    then = table.arrays()
    kept = table.remember()
    copies = {name: np.empty_like(array) for name, array in then.items()}
    begun, ended = threading.Event(), threading.Event()

    def copy() -> None:
        begun.set()
        for _ in range(20):
            kept.copy(copies)
        ended.set()

    thread = threading.Thread(target=copy)
    thread.start()
    begun.wait()
    done = 0
    while not ended.is_set() or done < len(batches):
        pushed(table, batches[done % len(batches)], 0.5)
        done += 1
    thread.join()
    table.forget()
    kept.mend(copies)
    for name, array in then.items():
        assert_array_equal(copies[name], array)
        assert not np.array_equal(table.arrays()[name], array)


def test_one_copy_after_the_other_keeps_what_each_has_to() -> None:
    table = Table(TableSpec("t", ROWS, 1, SGD()), 0, 1)
    rng = np.random.default_rng(4)
    for _ in range(2 * past.LAST + 10):
        then, kept = table.arrays(), table.remember()
        copies = {name: np.full_like(array, 77) for name, array in then.items()}
        pushed(table, np.flatnonzero(rng.random(ROWS) < 0.2).astype(np.uint32), 1.0)
        if rng.random() < 0.2:
            table.forget()  # this copy was given up
            continue
        kept.copy(copies)
        table.forget()
        kept.mend(copies)
        assert_array_equal(copies["weights"], then["weights"])


async def test_a_copy_that_fails_keeps_nothing_and_the_next_one_is_whole() -> None:
    shard, store = Shard(0, 1), MemoryStore()
    shard.create(TableSpec("t", ROWS, 1, SGD()))
    traffic = Traffic(shard, 1)
    failing = True

    def fail() -> None:
        if failing:
            raise StoreError("s", "no thread to be had")

    snapshots = await begin(Shelf(store, "s", 0, Meddling(fail)))
    with pytest.raises(StoreError):
        await snapshots.save(shard)
    assert not snapshots.busy
    assert shard.tables[0].past is None
    failing = False
    traffic.some()
    wanted = shard.tables[0].arrays()["weights"]
    found = decode_snapshot(await store.get(await snapshots.save(shard)), "s")
    assert_array_equal(found.arrays["0.weights"], wanted)
