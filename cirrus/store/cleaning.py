"""What a run leaves in its store that nobody will read again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from cirrus.errors import Corrupt, NotFound
from cirrus.store.base import ObjectInfo, ObjectStore
from cirrus.store.datasets import load
from cirrus.store.holding import state_of

OVER = ("done", "killed")
"""Outcomes after which a run is never taken up again; its model stays."""


async def needless(store: ObjectStore, run_id: str, now: float) -> AsyncIterator[ObjectInfo]:
    """The objects of a run that can go; none of a run that a driver holds.

    Of a run that is over: the shards' snapshots, and requests to measure trials. Of every run whose data set is
    committed: what preparation wrote beside the manifest and the blocks that it names.
    """
    if await state_of(store, run_id, now) == "running":
        return
    over = await _outcome(store, run_id) in OVER
    manifests: list[str] = []
    async for info in store.list(f"runs/{run_id}/"):
        parts = info.key.split("/")
        if parts[-1] == "manifest.json":
            manifests.append(info.key)
        elif over and (parts[2] == "shards" or parts[3:4] == ["requests"]):
            yield info
    for manifest in manifests:
        folder = manifest.removesuffix("manifest.json")
        dataset = await load(store, manifest)
        kept = {block.key for block in (*dataset.train, *dataset.test)}
        async for info in store.list(folder):
            inside = info.key.removeprefix(folder)
            if "/" in inside and info.key not in kept:
                yield info


async def _outcome(store: ObjectStore, run_id: str) -> str:
    key = f"runs/{run_id}/result.json"
    try:
        found = json.loads(await store.get(key))
    except NotFound:
        return ""
    except ValueError as error:
        raise Corrupt(key, "it is not JSON") from error
    return str(found.get("outcome")) if isinstance(found, dict) else ""
