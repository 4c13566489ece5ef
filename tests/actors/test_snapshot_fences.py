"""Which incarnation of a shard may write snapshots: an older one never gets between those of a newer one."""

from __future__ import annotations

import pytest

from cirrus.actors.shard import Shard
from cirrus.actors.snapshots import Shelf, begin, resume
from cirrus.errors import Conflict, StoreError
from cirrus.learn.base import TableSpec
from cirrus.optimizers import SGD
from cirrus.store.memory import MemoryStore


class Failing(MemoryStore):
    """Fails at the next creation: before it is done, or when only the answer is missing."""

    failing = ""

    async def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
        failing, self.failing = self.failing, ""
        if failing == "before":
            raise StoreError(key, "503")
        etag = await super().put_if_absent(key, data)
        if failing == "after":
            raise StoreError(key, "no answer")
        return etag


def learnt() -> Shard:
    shard = Shard(0, 1)
    shard.create(TableSpec("w", 4, 1, SGD(rate=1.0)))
    shard.ledger(0).open(0, 1)
    return shard


async def keys(store: MemoryStore) -> list[str]:
    return [info.key async for info in store.list("s/")]


async def test_a_write_that_failed_leaves_no_gap_behind_which_an_older_incarnation_could_write() -> None:
    store, old = Failing(), learnt()
    snapshots = await begin(Shelf(store, "s", 1))
    await snapshots.save(old)
    store.failing = "before"
    with pytest.raises(StoreError):
        await snapshots.save(old)
    await resume(Shard(0, 1), Shelf(store, "s", 2))
    with pytest.raises(Conflict):
        await snapshots.save(old)
    assert await keys(store) == ["s/000000000000", "s/000000000001"]


async def test_a_shard_knows_its_own_snapshot_whose_answer_was_lost() -> None:
    store, shard = Failing(), learnt()
    snapshots = await begin(Shelf(store, "s", 1))
    store.failing = "after"
    with pytest.raises(StoreError):
        await snapshots.save(shard)
    assert await snapshots.save(shard) == "s/000000000001"
    assert await keys(store) == ["s/000000000000", "s/000000000001"]


async def test_a_shard_takes_nobody_elses_snapshot_for_its_own_even_if_it_says_the_same() -> None:
    store, old, new = Failing(), learnt(), learnt()
    snapshots = await begin(Shelf(store, "s", 1))
    store.failing = "before"
    with pytest.raises(StoreError):
        await snapshots.save(old)
    await (await begin(Shelf(store, "s", 1))).save(new)
    with pytest.raises(Conflict):
        await snapshots.save(old)


async def test_a_shard_of_an_earlier_driver_that_comes_up_late_leaves_a_later_ones_snapshots_alone() -> None:
    store = MemoryStore()
    await (await resume(learnt(), Shelf(store, "s", 2))).save(learnt())
    before = await keys(store)
    with pytest.raises(Conflict, match="later driver"):
        await resume(Shard(0, 1), Shelf(store, "s", 1))
    assert await keys(store) == before


async def test_at_its_end_a_shard_saves_behind_the_snapshot_that_is_being_written() -> None:
    store, shard = MemoryStore(), learnt()
    snapshots = await begin(Shelf(store, "s", 1))
    snapshots.busy = True
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        snapshots.busy = len(slept) < 3

    await snapshots.save_last(shard, sleep)
    assert len(slept) == 3
    assert await keys(store) == ["s/000000000000"]


async def test_at_its_end_a_shard_that_another_has_followed_saves_nothing() -> None:
    store, old = MemoryStore(), learnt()
    snapshots = await begin(Shelf(store, "s", 1))
    await resume(Shard(0, 1), Shelf(store, "s", 2))
    with pytest.raises(Conflict):
        await snapshots.save(old)
    before = await keys(store)

    async def sleep(_: float) -> None:
        raise AssertionError("there is nothing to wait for")

    await snapshots.save_last(old, sleep)
    assert await keys(store) == before
