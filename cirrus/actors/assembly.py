"""The finished model, put together from what the shards saved."""

from __future__ import annotations

import numpy as np

from cirrus.actors.kernel import Kernel
from cirrus.actors.shard import Shard
from cirrus.actors.snapshots import fill
from cirrus.core.placement import key_of
from cirrus.errors import Corrupt
from cirrus.learn.rows import Floats
from cirrus.store.base import ObjectStore
from cirrus.store.checkpoints import decode_snapshot


async def assemble(
    kernel: Kernel, store: ObjectStore, snapshots: tuple[str, ...], tables: dict[str, str]
) -> dict[str, Floats]:
    """Each table whole, float32 of shape (rows, width); ``tables`` maps a kernel's names to those on the shards.

    ``snapshots[s]`` is the key of shard ``s``'s snapshot; ``Corrupt`` where one is not what a shard wrote.
    """
    whole: dict[str, Floats] = {}
    for number, key in enumerate(snapshots):
        data = await store.get(key)
        shard = await kernel.blocking(_shard, data, key, number, len(snapshots))
        for name, known_as in tables.items():
            if known_as not in shard.numbers:
                raise Corrupt(key, f"it holds no table {known_as!r}")
            table = shard.tables[shard.numbers[known_as]]
            if name not in whole:
                whole[name] = np.zeros((table.spec.rows, table.spec.width), np.float32)
            whole[name][key_of(np.arange(table.rows), number, len(snapshots))] = table.weights()
    return whole


def _shard(data: bytes, key: str, number: int, shards: int) -> Shard:
    shard = Shard(number, shards)
    fill(shard, decode_snapshot(data, key), key)
    return shard
