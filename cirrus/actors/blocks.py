"""The blocks of a data set in a worker: fetched ahead of time, and kept for the next epoch where memory allows."""

from __future__ import annotations

from collections import OrderedDict

from cirrus.actors.kernel import Kernel, Task
from cirrus.learn.rows import Rows
from cirrus.store.base import ObjectStore
from cirrus.store.datasets import BlockInfo


class Blocks:
    """Rows by block number. At most ``room`` bytes of blocks are kept, those used last."""

    def __init__(
        self, kernel: Kernel, store: ObjectStore, blocks: tuple[BlockInfo, ...], features: int, room: int
    ) -> None:
        self._kernel = kernel
        self._store = store
        self._blocks = blocks
        self._features = features
        self._room = room
        self._fetching: dict[int, Task[Rows]] = {}
        self._kept: OrderedDict[int, Rows] = OrderedDict()
        self._size = 0

    def expect(self, number: int) -> None:
        """Begin to fetch a block that will be asked for soon."""
        if number not in self._kept and number not in self._fetching:
            self._fetching[number] = self._kernel.task(self._fetch(number), name=f"fetch block {number}")

    async def get(self, number: int) -> Rows:
        """The rows of a block."""
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        self.expect(number)
        rows = await self._fetching[number].wait()
        self._fetching.pop(number, None)
        self._keep(number, rows)
        return rows

    def at_hand(self, number: int) -> bool:
        """Whether ``get`` would not have to wait."""
        return number in self._kept or (number in self._fetching and self._fetching[number].done)

    def _keep(self, number: int, rows: Rows) -> None:
        if number in self._kept:
            return
        self._kept[number] = rows
        self._size += self._blocks[number].size
        while self._size > self._room and len(self._kept) > 1:
            oldest, _ = self._kept.popitem(last=False)
            self._size -= self._blocks[oldest].size

    async def _fetch(self, number: int) -> Rows:
        info = self._blocks[number]
        return info.open(await self._store.get(info.key), self._features)
