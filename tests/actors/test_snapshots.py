"""Snapshots of a shard: what comes back is what was there, or nothing does."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cirrus.actors.shard import Connection, Shard
from cirrus.actors.snapshots import KEEP, Moment, Shelf, begin, fill, resume
from cirrus.errors import Conflict, Corrupt
from cirrus.learn.base import TableSpec
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Optimizer
from cirrus.store.base import ObjectStore
from cirrus.store.checkpoints import Draft, Snapshot, decode_snapshot, sealed
from cirrus.store.memory import MemoryStore
from cirrus.wire import frames
from cirrus.wire.frames import Step

KEYS = np.array([1, 4, 9], np.uint32)


def learnt(optimizer: Optimizer, steps: int = 3) -> Shard:
    shard = Shard(1, 2)
    shard.create(TableSpec("weights", 21, 1, optimizer, l2=0.01, stale="damp"))
    shard.create(TableSpec("factors", 21, 2, optimizer))
    go_on(shard, 0, steps)
    shard.values.put("a", b"first", 0.0)
    shard.values.put("b", b"\0second", 0.0, expires=100.0)
    return shard


def go_on(shard: Shard, first: int, steps: int) -> None:
    connection = Connection()
    shard.handle(connection, frames.encode_open(3, 1))
    for step in range(first, first + steps):
        gradients = (np.full((3, 1), step + 0.5, np.float32), np.full((3, 2), -step - 0.5, np.float32))
        pull = frames.encode_step(Step(0, (0, 1), None, (KEYS, KEYS)))
        shard.handle(connection, pull + frames.encode_step(Step(step, (0, 1), gradients, None)))


def draft(shard: Shard) -> Draft:
    moment = Moment(shard)
    found = moment.copied()
    moment.end()
    moment.mend(found)
    return found


def copied(shard: Shard) -> Snapshot:
    return decode_snapshot(sealed(draft(shard)), "a snapshot")


@pytest.mark.parametrize("optimizer", [SGD(), Momentum(), Adagrad(), Adam(), FTRL()])
def test_a_restored_shard_goes_on_as_the_first_would_have(optimizer: Optimizer) -> None:
    shard, again = learnt(optimizer), Shard(1, 2)
    fill(again, copied(shard), "a snapshot")
    assert again.ledgers[0].dump() == shard.ledgers[0].dump() == [0, 3, 1, 2]
    assert (again.clock, again.numbers, again.counters) == (shard.clock, shard.numbers, shard.counters)
    assert again.values.dump() == shard.values.dump()
    go_on(shard, 3, 4)
    go_on(again, 3, 4)
    for one, other in zip(shard.tables, again.tables, strict=True):
        assert one.spec == other.spec
        assert one.weights().any()
        assert_array_equal(one.weights(), other.weights())
    assert again.values.put("c", b"", 0.0) == shard.values.put("c", b"", 0.0)


def test_a_draft_does_not_change_with_the_shard() -> None:
    shard = learnt(Adagrad())
    before = copied(shard)
    snapshot = draft(shard)
    go_on(shard, 3, 1)
    after = decode_snapshot(sealed(snapshot), "a snapshot")
    assert after.header == before.header
    for name, array in before.arrays.items():
        assert_array_equal(array, after.arrays[name])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shard", 0),
        ("shards", 3),
        ("tables", []),
        ("tables", None),
        ("clocks", [1]),
        ("clocks", [1, -1]),
        ("clocks", [1, "2"]),
        ("ledgers", []),
        ("ledgers", {"0": [1, 2]}),
        ("ledgers", {"x": [0]}),
        ("values", [["a", 5, 1, None]]),
        ("values", [["a", 5, 1]]),
        ("values", [["a", 12, "1", None]]),
        ("counters", {}),
        ("version", None),
    ],
)
def test_a_header_that_fits_no_shard_is_corrupt_and_changes_nothing(field: str, value: Any) -> None:
    snapshot = copied(learnt(SGD()))
    header = copy.deepcopy(dict(snapshot.header))
    for changed in ({**header, field: value}, {key: one for key, one in header.items() if key != field}):
        shard = Shard(1, 2)
        with pytest.raises(Corrupt, match="a snapshot"):
            fill(shard, Snapshot(changed, snapshot.arrays), "a snapshot")
        assert not shard.tables
        assert not shard.ledgers


def test_missing_and_misshapen_arrays_are_corrupt() -> None:
    snapshot = copied(learnt(Adagrad()))
    for name, array in snapshot.arrays.items():
        for arrays in (
            {key: one for key, one in snapshot.arrays.items() if key != name},
            {**snapshot.arrays, name: array[:-1]},
        ):
            with pytest.raises(Corrupt, match="a snapshot"):
                fill(Shard(1, 2), Snapshot(snapshot.header, arrays), "a snapshot")


async def keys(store: ObjectStore) -> list[str]:
    return [info.key async for info in store.list("s/")]


async def test_the_newest_are_kept_and_a_broken_one_is_passed_over() -> None:
    store, shard = MemoryStore(), learnt(SGD())
    snapshots = await begin(Shelf(store, "s"))
    for step in range(3, 7):
        go_on(shard, step, 1)
        await snapshots.save(shard)
    assert await keys(store) == ["s/000000000002", "s/000000000003"]
    assert KEEP == 2
    broken = bytearray(await store.get("s/000000000003"))
    broken[200] ^= 1
    await store.put("s/000000000003", bytes(broken))
    again = Shard(1, 2)
    following = await resume(again, Shelf(store, "s"))
    assert again.ledgers[0].last(3) == 5
    assert await keys(store) == ["s/000000000002", "s/000000000003", "s/000000000004"]
    assert await following.save(again) == "s/000000000005"
    assert await keys(store) == ["s/000000000004", "s/000000000005"]


async def test_an_older_incarnation_writes_no_more_once_a_newer_one_has_begun() -> None:
    store, old_shard, new_shard = MemoryStore(), learnt(SGD()), Shard(1, 2)
    old = await begin(Shelf(store, "s"))
    await old.save(old_shard)
    await resume(new_shard, Shelf(store, "s"))
    for _ in range(2):
        go_on(old_shard, 3, 1)
        with pytest.raises(Conflict):
            await old.save(old_shard)
    assert await keys(store) == ["s/000000000000", "s/000000000001"]


async def test_what_an_older_incarnation_writes_in_the_last_moment_is_begun_with() -> None:
    class Racing(MemoryStore):
        """Lets the older incarnation write one more between the newer one's look and its first write."""

        late: memoryview | None = None

        async def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
            if self.late is not None:
                late, self.late = self.late, None
                await super().put_if_absent(key, late)
            return await super().put_if_absent(key, data)

    store, old_shard, new_shard = Racing(), learnt(SGD()), Shard(1, 2)
    await (await begin(Shelf(store, "s"))).save(old_shard)
    go_on(old_shard, 3, 2)
    store.late = sealed(draft(old_shard))
    await resume(new_shard, Shelf(store, "s"))
    assert new_shard.ledgers[0].last(3) == 4
    assert await keys(store) == ["s/000000000001", "s/000000000002"]


async def test_without_snapshots_a_shard_resumes_empty() -> None:
    store, shard = MemoryStore(), Shard(1, 2)
    snapshots = await resume(shard, Shelf(store, "s"))
    assert not shard.tables
    assert await snapshots.save(shard) == "s/000000000001"  # an empty one was written before, which claims the row
