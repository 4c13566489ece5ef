"""What can go of a run: never what somebody may read again."""

from __future__ import annotations

import json

import numpy as np

from cirrus.learn.rows import Rows
from cirrus.store.blocks import encode_block
from cirrus.store.cleaning import needless
from cirrus.store.datasets import BlockInfo, DataSet, commit
from cirrus.store.holding import PATIENCE, Holding
from cirrus.store.memory import MemoryStore

NOW = 1_800_000_000.0


async def made() -> MemoryStore:
    """A run with a committed data set, leftovers of other attempts, snapshots and a model; held at ``NOW``."""
    store = MemoryStore()
    rows = Rows(np.zeros(1, np.float32), np.array([0, 1], np.int64), np.array([0], np.uint32))
    data = encode_block(rows)
    kept = BlockInfo.of("runs/a/prepare/1/blocks/0-1.block", rows, data)
    await commit(store, "runs/a/prepare/manifest.json", DataSet(1, (kept,), (), 1, 0, "{}", ()))
    for key in (kept.key, "runs/a/prepare/1/blocks/0-0.block", "runs/a/prepare/1/scan/0-0.json"):
        await store.put(key, data)
    await store.put("runs/a/tune/requests/000000000.txt", b"x")
    for key in ("shards/000/000000000001", "train/model.safetensors", "train/work.json", "run.json"):
        await store.put(f"runs/a/{key}", b"x")
    await Holding.take(store, "a", "driver", NOW)
    return store


async def found(store: MemoryStore, now: float) -> set[str]:
    return {info.key async for info in needless(store, "a", now)}


async def test_nothing_of_a_run_that_goes_on() -> None:
    assert await found(await made(), NOW + 1) == set()


async def test_leftovers_of_preparation_but_no_snapshots_of_a_parked_run() -> None:
    assert await found(await made(), NOW + PATIENCE) == {
        "runs/a/prepare/1/blocks/0-0.block", "runs/a/prepare/1/scan/0-0.json",
    }


async def test_snapshots_too_of_a_run_that_is_done() -> None:
    store = await made()
    await store.put("runs/a/result.json", json.dumps({"outcome": "done"}).encode())
    assert "runs/a/shards/000/000000000001" in await found(store, NOW + PATIENCE)
    assert "runs/a/tune/requests/000000000.txt" in await found(store, NOW + PATIENCE)
    assert "runs/a/train/model.safetensors" not in await found(store, NOW + PATIENCE)


async def test_nothing_but_snapshots_and_requests_where_no_data_set_was_committed() -> None:
    store = await made()
    await store.delete("runs/a/prepare/manifest.json")
    await store.put("runs/a/result.json", json.dumps({"outcome": "killed"}).encode())
    assert await found(store, NOW + PATIENCE) == {
        "runs/a/shards/000/000000000001", "runs/a/tune/requests/000000000.txt",
    }
