"""The finished model, put together from what the shards saved."""

from __future__ import annotations

from dataclasses import dataclass

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
        await kernel.blocking(_put, whole, tables, key, _Part(data, number, len(snapshots)))
    return whole


@dataclass(frozen=True, slots=True)
class _Part:
    """The bytes of a shard's snapshot, and which shard of how many it is."""

    data: bytes
    number: int
    shards: int


def _put(whole: dict[str, Floats], tables: dict[str, str], key: str, part: _Part) -> None:
    """Put a shard's rows where they belong; a large model takes seconds, so this is for a thread."""
    shard = Shard(part.number, part.shards)
    fill(shard, decode_snapshot(part.data, key), key)
    for name, known_as in tables.items():
        if known_as not in shard.numbers:
            raise Corrupt(key, f"it holds no table {known_as!r}")
        table = shard.tables[shard.numbers[known_as]]
        if name not in whole:
            whole[name] = np.zeros((table.spec.rows, table.spec.width), np.float32)
        whole[name][key_of(0, part.number, part.shards) :: part.shards] = table.weights()
