"""What the driver asks of all shards: snapshots asked for together are taken together, and tables are dropped."""

from __future__ import annotations

import asyncio

import pytest

from cirrus.actors.shards import ShardCalls
from cirrus.store.checkpoints import newest_snapshot
from tests.actors.shards import CLOCK, FACTORS, WEIGHTS, Cluster, cluster, token

pytestmark = pytest.mark.usefixtures("loops")

LINE = 3


def calls_to(found: Cluster) -> ShardCalls:
    return ShardCalls(found.session, CLOCK, found.urls, token("driver"))


async def test_who_asks_while_a_snapshot_is_written_gets_the_next_one_together_with_the_others() -> None:
    async with cluster(2) as found:
        calls = calls_to(found)
        saved = await asyncio.gather(*(calls.snapshot(LINE) for _ in range(6)))
        assert [len(one) for one in saved] == [2] * 6
        keys = {tuple(one.key for one in snapshots) for snapshots in saved}
        assert len(keys) == 2, "the first, which was under way, and one for all that came meanwhile"
        again = tuple(one.key for one in await calls.snapshot(LINE))
        assert again not in keys, "who asks later gets a later one"


async def test_tables_are_dropped_on_every_shard_and_are_in_no_later_snapshot() -> None:
    async with cluster(2) as found:
        calls = calls_to(found)
        before = await calls.resident()
        await calls.drop(["weights", "unknown"], LINE)
        await calls.drop(["weights"], LINE)
        assert [one.spec for shard in found.shards for one in shard.kept] == [FACTORS, FACTORS]
        await calls.snapshot(LINE)
        for number in range(2):
            snapshot = (await newest_snapshot(found.store, f"shards/{number}")).snapshot
            assert snapshot is not None
            assert [one["name"] for one in snapshot.header["tables"]] == ["factors"]  # type: ignore[union-attr,index,call-overload]
        await calls.create([WEIGHTS])
        assert before > 0
        assert not found.weights().any()
